"""`leat demo` as a newcomer runs it, and the packages: unpacked where there is nothing but the C library, it runs."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEAT = pathlib.Path(os.environ.get("LEAT", ROOT / "build/dev/leat")).resolve()
SYSTEM = ("libc", "libm", "libdl", "librt", "libpthread", "libresolv", "libutil", "ld-linux")


def check(output):
    compared = re.findall(r"planted +(\d+) +(\w+)", output)
    assert len(compared) >= 6, output
    assert "DIFFERENT" not in output
    assert all(int(n) > 0 for n, _ in compared), output
    assert re.search(r'"status":\s*"\w+"', output), "one order was looked up"
    assert "POST /fraud HTTP/1.1" in output and re.search(r"webhook-signature: v1,", output, re.I), "the webhook's bytes are shown"
    assert "fraud_alerts: 0 differing rows" in output
    assert "order_status: 0 differing rows" in output


def test_demo(tmp_path):
    done = subprocess.run([LEAT, "demo", tmp_path / "demo", "--exit", "--events", "40000"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    check(done.stdout)
    again = subprocess.run([LEAT, "demo", tmp_path / "demo", "--exit"], capture_output=True, text=True)
    assert again.returncode == 2 and "there already" in again.stderr


def can_unshare():
    return shutil.which("unshare") and subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "true"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def packages():
    subprocess.run([ROOT / "scripts/dist", LEAT.parent], check=True, cwd=ROOT, capture_output=True)
    return ROOT / "build/dist"


@pytest.mark.skipif(not can_unshare(), reason="no unprivileged namespaces here: the packages are not tried in a bare root")
def test_tarball_where_there_is_nothing(packages, tmp_path):
    """A root with the C library and the unpacked tar.gz: no compiler, no shell, no other library, no rights."""
    root = tmp_path / "root"
    for folder in ("tmp", "proc", "dev", "home", "etc"):
        (root / folder).mkdir(parents=True)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    linked = subprocess.run(["ldd", LEAT], check=True, capture_output=True, text=True).stdout
    loader = re.search(r"^\s*(/\S*ld-linux\S*)", linked, re.M)[1]
    for path in [loader] + re.findall(r"=> (/\S+)", linked):
        if pathlib.Path(path).name.startswith(tuple(f"{s}." for s in SYSTEM) + ("ld-linux",)):
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    archive = next(packages.glob("leat-*.tar.gz"))
    subprocess.run(["tar", "-C", root / "home", "-xzf", archive], check=True)
    program = next((root / "home").glob("leat-*/bin/leat"))
    script = f"""mount -t proc proc {root}/proc 2>/dev/null || mount --rbind /proc {root}/proc
        for f in null urandom; do touch {root}/dev/$f; mount --bind /dev/$f {root}/dev/$f; done
        cd {root} && exec chroot {root} /{program.relative_to(root)} demo /home/demo --exit --events 40000"""
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "sh", "-c", script], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 0, done.stdout + done.stderr
    check(done.stdout)


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="no dpkg-deb here")
def test_deb(packages, tmp_path):
    deb = next(packages.glob("leat_*.deb"))
    fields = subprocess.run(["dpkg-deb", "--field", deb], check=True, capture_output=True, text=True).stdout
    assert re.search(r"^Package: leat$", fields, re.M) and re.search(r"^Depends: libc6 \(>= [0-9.]+\), .*libmicrohttpd.*zlib1g", fields, re.M), fields
    subprocess.run(["dpkg-deb", "--extract", deb, tmp_path], check=True)
    said = subprocess.run([tmp_path / "usr/bin/leat", "--version"], check=True, capture_output=True, text=True).stdout
    assert said.startswith("leat ")
    assert {p.name for p in (tmp_path / "lib/systemd/system").iterdir()} == {"leat@.service", "leat-once@.service", "leat-once@.timer"}


def test_deb_in_an_empty_debian(packages, tmp_path):
    done = subprocess.run([ROOT / "tests/integration/packages.sh", next(packages.glob("leat_*.deb")), tmp_path], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "installed, used and removed" in done.stdout, done.stdout
