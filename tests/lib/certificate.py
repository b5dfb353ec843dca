"""A certificate authority of its own and what it signs, in a folder: ca.pem, cert.pem, key.pem."""
import subprocess

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(folder, *args):
    subprocess.run(["openssl", *args], cwd=folder, check=True, stderr=subprocess.DEVNULL)


def issue(folder, name, names="", prefix="", days=30):
    """PREFIXcert.pem and PREFIXkey.pem for `name`, the subject, which clients do not look at in a server's; `names` as in
    subjectAltName."""
    openssl(folder, "req", *NEW_KEY, "-keyout", prefix + "key.pem", "-out", "req.pem", "-subj", f"/CN={name}")
    (folder / "names").write_text(f"subjectAltName={names}\n" if names else "")
    openssl(folder, "x509", "-req", "-in", "req.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days",
            str(days), "-out", prefix + "cert.pem", "-extfile", "names")
    (folder / (prefix + "key.pem")).chmod(0o600)


def certificate(folder, name="localhost", names="DNS:localhost,IP:127.0.0.1", days=30):
    """The authority and a server's certificate."""
    openssl(folder, "req", "-x509", *NEW_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-days", str(days),
            "-subj", f"/CN=Test CA {folder.name}")
    issue(folder, name, names, days=days)
