from django.urls import include, path
from testproject.urls import urlpatterns as demo

urlpatterns = [*demo, path("accounts/", include("allauth.urls"))]
