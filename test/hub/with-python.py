"""Shoal and Python's huggingface_hub share one cache: each finds what the other fetched, and neither fetches it again.

Not part of `npm test`, since it needs Python. In a checkout, after `npm ci`:

    python3 -m venv venv && venv/bin/pip install huggingface_hub
    venv/bin/python test/hub/with-python.py

Nothing leaves the machine: both ask a local Hub that this script starts. The last line says "all agree".
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPO = "testorg/tiny"
FILES = [
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "shoal.json",
    "tokenizer.json",
    "tokenizer_config.json",
]

# Runs in a process of its own: huggingface_hub reads the environment when it is imported.
PYTHON = """
import json, sys
import huggingface_hub as hub
repo, files = json.loads(sys.argv[1])
paths = [hub.hf_hub_download(repo, name) for name in files]
folder = hub.snapshot_download(repo)
info = hub.scan_cache_dir()
print(json.dumps({
    "paths": paths,
    "folder": folder,
    "cached": [isinstance(hub.try_to_load_from_cache(repo, name), str) for name in files],
    "repos": [{"id": r.repo_id, "size": r.size_on_disk, "refs": list(r.refs)} for r in info.repos],
    "warnings": [str(w) for w in info.warnings],
}))
"""


def python(env):
    line = [sys.executable, "-c", PYTHON, json.dumps([REPO, FILES])]
    return json.loads(subprocess.run(line, env=env, check=True, capture_output=True, text=True).stdout)


def shoal(env, *args):
    line = ["node", str(ROOT / "bin/shoal.js"), *args]
    done = subprocess.run(line, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def run(env):
    return shoal(env, "run", REPO, "The sea", "--max-tokens", "4", "--threads", "1", "--json")


def blobs(home):
    """Inode and time of change of every file that holds bytes: what is fetched again has others."""
    files = [path for path in (home / "hub").rglob("*") if path.is_file() and not path.is_symlink()]
    held = [path for path in files if "blobs" in path.parts or "snapshots" in path.parts]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in held}


def check(name, fine, detail=""):
    print(("ok    " if fine else "FAILED ") + name, detail if not fine else "")
    if not fine:
        sys.exit(1)


def environment(home, endpoint, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {**kept, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "SHOAL_CACHE": str(home / "shoal"), **more}


def both_ways(endpoint, **more):
    what = " ".join(f"{name}={value}" for name, value in more.items()) or "with links"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        online = environment(home, endpoint, **more)
        offline = {**online, "HF_HUB_OFFLINE": "1"}
        first = run(online)
        check(f"{what}: Shoal fetches", "fetching testorg/tiny from the Hub" in first.stderr, first.stderr)
        before = blobs(home)
        for env in (offline, online):
            seen = python(env)
            check(f"{what}: Python finds what Shoal fetched", all(seen["cached"]), seen)
            check(f"{what}: in the same snapshot", {Path(p).parent for p in seen["paths"]} == {Path(seen["folder"])}, seen)
            check(f"{what}: its scan of the cache has no warnings", seen["warnings"] == [], seen)
            check(f"{what}: and knows the ref", seen["repos"][0]["refs"] == ["main"], seen)
        check(f"{what}: nothing was fetched again", blobs(home) == before)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        online = environment(home, endpoint, **more)
        python(online)
        before = blobs(home)
        for env in ({**online, "HF_HUB_OFFLINE": "1"}, online):
            done = run(env)
            check(f"{what}: Shoal finds what Python fetched", done.stderr == "", done.stderr)
        check(f"{what}: nothing was fetched again", blobs(home) == before)
        listed = json.loads(shoal(online, "models", "--json").stdout)
        check(f"{what}: and lists it", [m["name"] for m in listed["hub"]["models"]] == [REPO], listed)
        shoal(online, "models", "rm", REPO)
        check(f"{what}: and removes it", blobs(home) == {}, blobs(home))


def main():
    loader = (ROOT / "test/typescript-loader.mjs").as_uri()
    line = ["node", "--import", loader, str(ROOT / "test/hub/serve.ts")]
    server = subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        endpoint = server.stdout.readline().strip()
        both_ways(endpoint)
        both_ways(endpoint, HF_HUB_DISABLE_SYMLINKS="1")
    finally:
        server.stdin.close()
        server.wait(timeout=10)
    print("all agree")


main()
