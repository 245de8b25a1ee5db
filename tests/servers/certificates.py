from pathlib import Path

import trustme


class Certificates:
    """What a server and its clients need for TLS, in a folder."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.authority = folder / "authority.pem"
        self.client = folder / "client.pem"
        self.client_key = folder / "client.key"
        self._server = authority.issue_cert("localhost", "127.0.0.1")
        client = authority.issue_cert("client")
        authority.cert_pem.write_to_path(self.authority)
        client.cert_chain_pems[0].write_to_path(self.client)
        client.private_key_pem.write_to_path(self.client_key)

    def files(self) -> dict[str, bytes]:
        """Return the server's files, by the names that options() has for them."""
        return {
            "authority.pem": self.authority.read_bytes(),
            "server.pem": self._server.cert_chain_pems[0].bytes(),
            "server.key": self._server.private_key_pem.bytes(),
        }

    def options(self, folder: str) -> list[str]:
        """Return the server's options, its files being in this folder."""
        return [
            *("--tls-ca-cert-file", f"{folder}/authority.pem"),
            *("--tls-cert-file", f"{folder}/server.pem"),
            *("--tls-key-file", f"{folder}/server.key"),
        ]

    def access(self) -> dict[str, object]:
        """Return valkey-py's arguments for a client that both sides accept."""
        return {
            "ssl": True,
            "ssl_ca_certs": str(self.authority),
            "ssl_certfile": str(self.client),
            "ssl_keyfile": str(self.client_key),
        }
