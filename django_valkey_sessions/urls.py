"""``path("account/sessions/", include("django_valkey_sessions.urls"))``"""

from django.urls import path

from .views import SessionsView

app_name = "valkey_sessions"
urlpatterns = [path("", SessionsView.as_view(), name="list")]
