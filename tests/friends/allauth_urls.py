from django.urls import include, path
from testproject.urls import urlpatterns as demo

urlpatterns = [path("accounts/", include("allauth.urls")), *demo]
