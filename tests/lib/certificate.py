"""A certificate authority of its own and a server certificate, in a folder: ca.pem, cert.pem, key.pem."""
import subprocess

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def certificate(folder, name="localhost", names="DNS:localhost,IP:127.0.0.1", days=30):
    """`names` as in subjectAltName; `name` is the subject's, which clients do not look at."""
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, stderr=subprocess.DEVNULL)
    openssl("req", "-x509", *NEW_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-days", str(days),
            "-subj", f"/CN=Test CA {folder.name}")
    openssl("req", *NEW_KEY, "-keyout", "key.pem", "-out", "req.pem", "-subj", f"/CN={name}")
    (folder / "names").write_text(f"subjectAltName={names}\n")
    openssl("x509", "-req", "-in", "req.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", str(days),
            "-out", "cert.pem", "-extfile", "names")
    (folder / "key.pem").chmod(0o600)
