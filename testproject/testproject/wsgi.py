"""``gunicorn testproject.wsgi --threads 4``"""

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")

# A site in production leaves its static files to the web server.
application = StaticFilesHandler(get_wsgi_application())
