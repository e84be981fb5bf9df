"""Django's own cache tests on `CacheCore`. DJANGO_TESTS names the folder `tests` of its sources, LOCATION a store."""

from __future__ import annotations

import os
import sys
from typing import Any

import django
from django.conf import settings
from django.test import TestCase, override_settings
from django.test.runner import DiscoverRunner

sys.path.insert(0, os.environ["DJANGO_TESTS"])
STORE = {"BACKEND": "cachecore_frameworks.django.CacheCore", "LOCATION": os.environ["LOCATION"]}
DATABASE = {"ENGINE": "django.db.backends.sqlite3"}
settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": DATABASE, "other": DATABASE},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=["cache"],
    LANGUAGE_CODE="en",
    ROOT_URLCONF=[],
    SECRET_KEY="s",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    USE_TZ=False,
)
django.setup()

from cache import tests as theirs  # type: ignore[import-not-found]  # of Django's sources

PAGES = {"default": STORE, "other": {**STORE, "TIMEOUT": "1", "KEY_PREFIX": "other"}}
PAGES["prefix"] = {**STORE, "KEY_PREFIX": f"cacheprefix{os.getpid()}"}
MIDDLEWARE = (
    "CacheHEADTest",
    "CacheI18nTest",
    "CacheMiddlewareTest",
    "PrefixedCacheI18nTest",
    "TestWithTemplateResponse",
)


def suite() -> Any:
    """Return the suite of its backends, and that of its middleware, on the store."""
    no_bounds = {"cull", "zero_cull"}  # MAX_ENTRIES and CULL_FREQUENCY are not options of cachecore
    backends = theirs.caches_setting_for_tests(base=STORE, exclude=no_bounds)
    classes = [override_settings(CACHES=backends)(type("Backend", (theirs.BaseCacheTests, TestCase), {}))]
    classes += [override_settings(CACHES=PAGES)(type(name, (getattr(theirs, name),), {})) for name in MIDDLEWARE]
    runner = DiscoverRunner()
    found = [runner.test_loader.loadTestsFromTestCase(one) for one in classes]
    return runner.test_suite(found)


class Runner(DiscoverRunner):
    """Runs the suite above in place of what it would find."""

    def build_suite(self, *arguments: Any, **options: Any) -> Any:
        return suite()


if __name__ == "__main__":
    sys.exit(bool(Runner().run_tests([])))
