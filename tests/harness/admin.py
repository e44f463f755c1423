"""Callers of the administration: `admin.get("/clients")`."""

import requests


class Admin:
    """A client of the API with one token."""

    def __init__(self, server, token):
        self.server = server
        self.token = token
        self.http = requests.Session()
        self.http.trust_env = False

    def call(self, method, path, **options):
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        url = path if path.startswith("/admin/") else f"/admin/v1{path}"
        return self.http.request(method, self.server.admin_api + url, headers=headers,
                                 timeout=options.pop("timeout", 20), **options)

    def get(self, path, **options):
        return self.call("GET", path, **options)

    def post(self, path, json, **options):
        return self.call("POST", path, json=json, **options)

    def put(self, path, json, version=None, **options):
        return self.call("PUT", path, json=json, headers=condition(version), **options)

    def patch(self, path, json, version="*", **options):
        return self.call("PATCH", path, json=json, headers=condition(version), **options)

    def delete(self, path, version="*", **options):
        return self.call("DELETE", path, headers=condition(version), **options)


def condition(version):
    """If-Match of this version; None: none."""
    if version is None:
        return {}
    return {"If-Match": "*" if version == "*" else f'"{version}"'}


def administrator(server, database, scope="jotd:admin", id=None):
    """A caller with this scope; `.client` is its client."""
    client = database.client(id=id, tier="unlimited", scope=scope, audience=server.issuer + "/admin")
    admin = Admin(server, server.access_token(client))
    admin.client = client
    return admin
