"""The addresses of the playground."""

from django.urls import path

from api.playground import views

app_name = "playground"
urlpatterns = [
    path("", views.show_playground, name="page"),
    path("key", views.create_session_key, name="key"),
    path("turns/<uuid:turn_id>", views.show_stored_turn, name="turn"),
]
