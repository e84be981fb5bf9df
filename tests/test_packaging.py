"""The distributions as a user gets them: built, installed into an empty environment, found by name there."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MEMBERS = {
    "cachecore-framework": ROOT,
    "cachecore-redis": ROOT / "backends" / "redis",
    "cachecore-postgres": ROOT / "backends" / "postgres",
    "cachecore-objects": ROOT / "backends" / "objects",
    "cachecore-keyvalue": ROOT / "backends" / "keyvalue",
    "cachecore-sqlite": ROOT / "backends" / "sqlite",
    "cachecore-llm": ROOT / "integrations" / "llm",
    "cachecore-proxy": ROOT / "integrations" / "proxy",
    "cachecore-frameworks": ROOT / "integrations" / "frameworks",
}
ASK = """
import json, sys
from importlib.metadata import entry_points
kinds = ("backends", "hashers", "serializers", "eviction", "commands")
groups = [f"cachecore.{kind}" for kind in kinds]
found = {group: sorted(entry.name for entry in entry_points(group=group)) for group in groups}
for group in groups:
    for entry in entry_points(group=group):
        if entry.name not in ("blake3",):
            entry.load()
import asyncio, cachecore
async def use():
    async with cachecore.Cache("memory://", ttl=60) as cache:
        return await cache.get_or_set({"q": 1}, answer)
async def answer():
    return 42
found["answer"] = asyncio.run(use())
found["where"] = cachecore.__file__
print(json.dumps(found))
"""


def project(member: Path) -> dict[str, object]:
    table = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    assert isinstance(table, dict)
    return table


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wheel of each member, built with the tools of this environment: nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheels")
    built: dict[str, Path] = {}
    for name, member in MEMBERS.items():
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(member)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        (built[name],) = folder.glob(f"{name.replace('-', '_')}-*.whl")
    return built


def test_wheels_hold_the_package_and_nothing_else(wheels: dict[str, Path]) -> None:
    for name, wheel in wheels.items():
        files = zipfile.ZipFile(wheel).namelist()
        package = "cachecore" if name == "cachecore-framework" else name.replace("-", "_")
        assert f"{package}/py.typed" in files
        assert all(file.startswith((f"{package}/", f"{name.replace('-', '_')}-")) for file in files)
        assert not [file for file in files if "test_" in file]


def test_plugins_are_found_in_an_empty_environment(wheels: dict[str, Path], tmp_path: Path) -> None:
    """Installed from wheels, away from the checkout, every entry point is there and loads."""
    venv.create(tmp_path / "env", with_pip=True)  # its own: an environment made by uv has none
    python = tmp_path / "env" / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    install = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, *wheels.values()], check=True, capture_output=True)
    # What the members depend on comes from this environment, whose own copy of the members comes later on the path.
    here = subprocess.run(
        [sys.executable, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (Path(site) / "dependencies.pth").write_text(here + "\n")
    asked = subprocess.run(
        [python, "-I", "-W", "error", "-c", ASK], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert asked.returncode == 0, asked.stderr
    found = json.loads(asked.stdout)
    assert found["where"].startswith(site)
    assert found["answer"] == 42
    assert {"memory", "redis", "rediss", "unix", "sqlite", "postgres", "postgresql", "s3", "gs", "az", "file"} <= set(
        found["cachecore.backends"]
    )
    assert {"sha256", "blake2b", "xxh3_128", "blake3"} <= set(found["cachecore.hashers"])
    assert {"msgpack", "json", "typed", "compressed", "encrypted"} <= set(found["cachecore.serializers"])
    assert {"lru", "adaptive"} <= set(found["cachecore.eviction"])
    assert {"proxy", "replay"} <= set(found["cachecore.commands"])


def test_members_move_in_lock_step() -> None:
    """Every member has the core's version and depends on exactly that one."""
    version = project(ROOT)["version"]
    for member in MEMBERS.values():
        table = project(member)
        assert table["version"] == version
        dependencies = table["dependencies"]
        assert isinstance(dependencies, list)
        for dependency in dependencies:
            if dependency.startswith("cachecore"):
                assert dependency.endswith(f"=={version}")


def test_every_file_is_free_of_index_addresses() -> None:
    """Nothing that is committed says where packages come from."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    hosts = ("files." + "pythonhosted", "pypi" + ".org")
    for name in tracked.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and path.stat().st_size < 1_000_000:
            text = path.read_text(errors="replace")
            assert not any(host in text for host in hosts), name


def test_version_is_one() -> None:
    import cachecore

    assert cachecore.__version__ == project(ROOT)["version"]
