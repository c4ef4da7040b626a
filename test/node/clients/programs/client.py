"""`client.py http.client|requests UPLOAD URL...`"""

import hashlib
import sys
from http.client import HTTPConnection

library, upload, urls = sys.argv[1], open(sys.argv[2], "rb").read(), sys.argv[3:]


def parts():
    for start in range(0, len(upload), 10_000):
        yield upload[start : start + 10_000]


def of_http_client(url):
    connection = HTTPConnection(url.removeprefix("http://"))

    def send(method, path, body=None):
        chunked = callable(body)
        connection.request(method, path, body() if chunked else body, encode_chunked=chunked)
        answer = connection.getresponse()
        return answer.status, answer.read()

    return send


def of_requests(url):
    import requests

    session = requests.Session()

    def send(method, path, body=None):
        answer = session.request(method, url + path, data=body() if callable(body) else body)
        return answer.status_code, answer.content

    return send


for url in urls:
    send = {"http.client": of_http_client, "requests": of_requests}[library](url)
    for operation, method, path, body, times in (
        ("get", "GET", "/hello", None, 1),
        ("head", "HEAD", "/hello", None, 1),
        ("post", "POST", "/echo", upload, 1),
        ("chunked", "POST", "/echo", parts, 1),
        ("kept", "GET", "/hello", None, 20),
        ("big", "GET", "/big", None, 1),
        ("missing", "GET", "/missing", None, 1),
        ("failing", "GET", "/failing", None, 1),
    ):
        try:
            answers = [send(method, path, body) for _ in range(times)]
            all_bytes = b"".join(answer for _, answer in answers)
            print(url, operation, answers[-1][0], hashlib.sha1(all_bytes).hexdigest())
        except Exception as error:
            print(url, operation, repr(error).replace(" ", "-"), "-")
            send = {"http.client": of_http_client, "requests": of_requests}[library](url)
