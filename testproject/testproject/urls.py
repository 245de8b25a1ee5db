from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("data/", views.data, name="data"),
    path("stored/", views.stored, name="stored"),
    path("change/", views.change, name="change"),
    path("achange/", views.achange, name="achange"),
    path("set/<slug:key>/", views.set_slowly, name="set"),
    path("aset/<slug:key>/", views.aset_slowly, name="aset"),
    path("cycle/", views.cycle, name="cycle"),
    path("login/", LoginView.as_view(template_name="login.html"), name="login"),
    path("logout/", LogoutView.as_view(template_name="logged_out.html"), name="logout"),
    path("account/sessions/", include("django_valkey_sessions.urls")),
    path("admin/", admin.site.urls),
]

if settings.HAS_REST_FRAMEWORK:
    from .api import Visits

    urlpatterns.append(path("api/session/", Visits.as_view(), name="api"))

if settings.HAS_ALLAUTH:
    from allauth.account.views import login, logout, signup

    # The others are for addresses and passwords, and send mail.
    urlpatterns += [
        path("allauth/login/", login, name="account_login"),
        path("allauth/logout/", logout, name="account_logout"),
        path("allauth/signup/", signup, name="account_signup"),
    ]
