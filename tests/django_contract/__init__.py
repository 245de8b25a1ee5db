"""
Django's own tests of session engines and of SessionMiddleware, against this engine.

    python -m tests.django_contract

downloads the source distribution of the Django that is installed, whose tests its
wheel lacks, into a temporary folder, and runs them from there.
"""
