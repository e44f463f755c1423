"""The Kubernetes manifests: they name each other, the image and jotd's settings correctly."""

import base64
import json
import os
import pathlib
import re
import subprocess
import time
import urllib.parse

import pytest
import yaml

from harness.deployment import DEPLOY, environment, port_of, settings
from harness.process import ROOT, binary, clean_environment, run_jotd

MANIFESTS = DEPLOY / "kubernetes"
ROTATION = "rotate.example.yaml"  # to be added to the kustomization


def load(name):
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


@pytest.fixture(scope="module")
def kustomization():
    (found,) = load("kustomization.yaml")
    return found


@pytest.fixture(scope="module")
def objects(kustomization):
    """All objects by kind and name."""
    found = [item for name in (*kustomization["resources"], ROTATION) for item in load(name)]
    by_name = {(item["kind"], item["metadata"]["name"]): item for item in found}
    assert len(by_name) == len(found)
    return by_name


@pytest.fixture(scope="module")
def server(objects):
    return objects["StatefulSet", "jotd"]


@pytest.fixture(scope="module")
def rotation(objects):
    """The pod template of the job that rotates."""
    return objects["CronJob", "jotd-rotate"]["spec"]["jobTemplate"]["spec"]["template"]


@pytest.fixture(scope="module")
def pods(server, objects, rotation):
    """The pod templates of the server and the jobs."""
    return [server["spec"]["template"], objects["Job", "jotd-migrate"]["spec"]["template"], rotation]


def containers(pod):
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def jotd_of(pod):
    """The container that runs jotd."""
    (found,) = [item for item in containers(pod) if item["image"] == "jotd"]
    return found


@pytest.fixture(scope="module")
def config():
    return environment(MANIFESTS / "jotd.env")


def test_every_file_is_used(kustomization):
    used = {*kustomization["resources"], *kustomization["configMapGenerator"][0]["envs"]}
    there = {path.name for path in MANIFESTS.iterdir()}
    assert there - used == {
        "kustomization.yaml", *(f"{name}.example.yaml" for name in ("secret", "ingress", "monitoring", "rotate"))}


def test_the_examples_find_their_services(objects, config):
    """The ingress and the Prometheus operator's monitor name services and ports that exist."""
    services = {key[1]: item for key, item in objects.items() if key[0] == "Service"}

    def ports(service):
        return {port["name"] for port in service["spec"]["ports"]}

    (ingress,), (monitor,) = load("ingress.example.yaml"), load("monitoring.example.yaml")
    (rule,) = ingress["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend["port"]["name"] in ports(services[backend["name"]])
    assert config["JOTD_ISSUER"] == f"https://{rule['host']}"
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
    chosen, (endpoint,) = monitor["spec"]["selector"]["matchLabels"], monitor["spec"]["endpoints"]
    scraped = [name for name, service in services.items()
               if chosen.items() <= service["metadata"]["labels"].items()
               and endpoint["port"] in ports(service)]
    assert scraped == ["jotd-pods"]


def test_the_image_is_that_of_this_version(kustomization, pods):
    version = re.search(r"project\(jotd VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
    (image,) = kustomization["images"]
    assert image["newTag"] == version
    assert [jotd_of(pod)["image"] for pod in pods] == [image["name"]] * 3


def test_selectors_find_the_pods_of_the_server_and_no_others(objects, server, pods):
    labels = server["spec"]["template"]["metadata"]["labels"]
    for (kind, name), item in objects.items():
        if kind == "Service":
            selector = item["spec"]["selector"]
        elif kind in ("StatefulSet", "PodDisruptionBudget"):
            selector = item["spec"]["selector"]["matchLabels"]
        else:
            continue
        matching = [pod for pod in pods if selector.items() <= pod["metadata"]["labels"].items()]
        assert [pod["metadata"]["labels"] for pod in matching] == [labels], (kind, name)
    target = objects["HorizontalPodAutoscaler", "jotd"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in objects
    assert "replicas" not in server["spec"]
    assert ("Service", server["spec"]["serviceName"]) in objects


def test_the_ports(objects, server, config):
    (container,) = server["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": port_of(config["JOTD_LISTEN"]),
                     "metrics": port_of(config["JOTD_METRICS_LISTEN"])}
    for (kind, name), item in objects.items():
        if kind == "Service":
            assert {port["targetPort"] for port in item["spec"]["ports"]} <= set(ports), name
    probes = {container[probe]["httpGet"]["path"]: container[probe]["httpGet"]["port"]
              for probe in ("livenessProbe", "readinessProbe")}
    assert probes == {"/health": "metrics", "/ready": "metrics"}
    notes = server["spec"]["template"]["metadata"]["annotations"]
    assert int(notes["prometheus.io/port"]) == ports["metrics"]


def applied(objects, pod):
    """Ingress and egress rules of all network policies that select a pod."""
    policies = [item["spec"] for (kind, _), item in objects.items() if kind == "NetworkPolicy"
                and item["spec"]["podSelector"]["matchLabels"].items()
                <= pod["metadata"]["labels"].items()]
    assert policies and all(policy["policyTypes"] == ["Ingress", "Egress"] for policy in policies)
    return [[rule for policy in policies for rule in policy.get(way, [])]
            for way in ("ingress", "egress")]


def test_pods_talk_to_their_neighbours_and_nobody_else(objects, server, pods):
    urls = {name: url for secret in load("secret.example.yaml")
            for name, url in secret["stringData"].items()}
    neighbours = {urllib.parse.urlsplit(urls[name]).port for name in ("DATABASE_URL", "REDIS_URL")}
    for pod in pods:
        ingress, egress = applied(objects, pod)
        is_server = pod is server["spec"]["template"]
        came = {port["port"]: rule["from"] for rule in ingress for port in rule["ports"]}
        names = {port: peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
                 for port, (peer,) in came.items()}
        assert names == ({"http": "traefik", "metrics": "monitoring"} if is_server else {})
        goes = {port["port"] for rule in egress for port in rule["ports"]}
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        assert goes == {53, 5432, *{"server": neighbours, "rotate": {6443}}.get(component, ())}
        for rule in egress:
            for peer in rule["to"]:
                assert "podSelector" in peer or peer["ipBlock"]["cidr"].endswith("/32"), peer


def test_the_configuration_is_there(pods, kustomization):
    secrets = {secret["metadata"]["name"]: secret["stringData"]
               for secret in load("secret.example.yaml")}
    assert {name: set(values) for name, values in secrets.items()} == {
        "jotd": {"DATABASE_URL", "REDIS_URL"}, "jotd-owner": {"DATABASE_URL"}}
    assert {"DATABASE_URL", "REDIS_URL"} <= set(settings())
    maps = {generator["name"] for generator in kustomization["configMapGenerator"]}
    roles = {}
    for pod in pods:
        container = jotd_of(pod)
        (name,) = [source["secretRef"]["name"] for source in container["envFrom"]
                   if "secretRef" in source]
        assert {source["configMapRef"]["name"] for source in container["envFrom"]
                if "configMapRef" in source} <= maps
        url = urllib.parse.urlsplit(secrets[name]["DATABASE_URL"])
        roles[pod["metadata"]["labels"]["app.kubernetes.io/component"]] = url.username
        query = urllib.parse.parse_qs(url.query)
        assert query["sslmode"] == ["verify-full"]
        ca = pathlib.PurePath(*query["sslrootcert"])
        (mount,) = [mount["name"] for mount in container["volumeMounts"]
                    if mount["mountPath"] == str(ca.parent)]
        (map,) = [volume["configMap"]["name"] for volume in pod["spec"]["volumes"]
                  if volume["name"] == mount]
        text = (MANIFESTS / "secret.example.yaml").read_text()
        assert f"create configmap {map} --from-file={ca.name}\n" in text
    assert roles == {"server": "jotd_server", "migrate": "jotd_owner", "rotate": "jotd_server"}


def test_the_volumes(server, config):
    spec = server["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert mounts["keys"]["mountPath"] == config["JOTD_KEYS_DIR"]
    assert mounts["spool"]["mountPath"] == config["JOTD_SPOOL_DIR"]
    (claim,) = server["spec"]["volumeClaimTemplates"]
    volumes = {volume["name"] for volume in spec["volumes"]} | {claim["metadata"]["name"]}
    assert set(mounts) == volumes
    size = re.fullmatch(r"(\d+)Gi", claim["spec"]["resources"]["requests"]["storage"])
    assert int(size[1]) << 30 > int(config["JOTD_SPOOL_MAX_BYTES"])
    text = (MANIFESTS / "secret.example.yaml").read_text()
    (keys,) = [volume for volume in spec["volumes"] if volume["name"] == "keys"]
    assert f"create secret generic {keys['secret']['secretName']} " in text


def test_a_pod_has_the_time_to_drain(server, config):
    spec = server["spec"]["template"]["spec"]
    command = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    assert (spec["terminationGracePeriodSeconds"]
            > int(command[1]) + int(config["JOTD_DRAIN_TIMEOUT"]) + 5)


def test_the_pods_are_locked_down(pods):
    for pod in pods:
        spec = pod["spec"]
        assert spec["enableServiceLinks"] is False
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert f"USER {spec['securityContext']['runAsUser']}:" in (ROOT / "Dockerfile").read_text()
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "privileged": False,
                "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }
            assert "cpu" in container["resources"]["requests"]  # the autoscaler's measure


def test_only_kubectl_may_replace_the_keys_and_nothing_else(objects, server, rotation, config):
    spec = rotation["spec"]
    published, work = ({mount["mountPath"]: mount for mount in item["volumeMounts"]}
                       for item in (server["spec"]["template"]["spec"]["containers"][0],
                                    jotd_of(rotation)))
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert published[config["JOTD_KEYS_DIR"]] == work[config["JOTD_KEYS_DIR"]]
    secret = volumes["keys"]["secret"]["secretName"]
    (rule,) = objects["Role", "jotd-rotate"]["rules"]
    assert rule == {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret],
                    "verbs": ["get", "update"]}
    binding, account = objects["RoleBinding", "jotd-rotate"], spec["serviceAccountName"]
    assert ("Role", binding["roleRef"]["name"]) in objects
    assert [(item["kind"], item["name"]) for item in binding["subjects"]] == [
        ("ServiceAccount", account)]
    assert objects["ServiceAccount", account]["automountServiceAccountToken"] is False
    mounted = {item["name"]: {mount["name"] for mount in item["volumeMounts"]}
               for item in containers(rotation)}
    assert mounted == {"rotate": {"keys", "database-ca", "work"}, "publish": {"work", "api"}}
    assert set(volumes) == mounted["rotate"] | mounted["publish"]
    assert volumes["work"]["emptyDir"]["medium"] == "Memory"
    job = objects["CronJob", "jotd-rotate"]["spec"]
    assert job["concurrencyPolicy"] == "Forbid"
    assert job["jobTemplate"]["spec"]["activeDeadlineSeconds"] <= 900 - 2 * 300  # lead, caches


class Rotation:
    """Runs the job's script on a directory like the mounted Secret."""

    def __init__(self, container, directory):
        self.container = container
        self.published, self.work = directory / "published", directory / "work"
        program = directory / "bin" / "jotd"
        for path in self.published, self.work, program.parent:
            path.mkdir(mode=0o700)
        program.symlink_to(binary())
        self.environment = clean_environment(
            PATH=f"{program.parent}:{os.environ['PATH']}", PUBLISHED=str(self.published),
            JOTD_KEYS_DIR=str(self.work / "keys"))
        own = {item["name"]: item["value"] for item in container["env"]}
        assert own == {"PUBLISHED": "/etc/jotd/keys", "JOTD_KEYS_DIR": "/work/keys"}

    def run(self):
        """The Secret that it writes, or None if it fails."""
        subprocess.run(["rm", "-rf", self.work / "keys", self.work / "secret.json"], check=True)
        done = subprocess.run(self.container["command"], env=self.environment, text=True,
                              capture_output=True, check=False)
        written = self.work / "secret.json"
        assert (done.returncode == 0) == written.exists(), done.stderr
        return json.loads(written.read_text()) if written.exists() else None

    def publish(self, secret):
        for path in self.published.iterdir():
            path.unlink()
        for name, value in secret["data"].items():
            (self.published / name).write_bytes(base64.b64decode(value, validate=True))


def test_the_job_writes_a_secret_with_the_rotated_keys(rotation, tmp_path):
    job = Rotation(jotd_of(rotation), tmp_path)
    assert job.run() is None  # no keys: better no Secret than an empty one
    run_jotd("key", "create", env={"JOTD_KEYS_DIR": str(tmp_path / "first")})
    (key,) = (tmp_path / "first").iterdir()
    kid = key.name[:43]
    target = key.with_name(f"{kid}.ES256.{int(time.time()) - 31 * 86400}.pem")
    key.rename(target)
    (job.published / target.name).symlink_to(target)  # as the kubelet does
    made = job.run()
    assert (made["kind"], made["metadata"]) == (
        "Secret", {"name": rotation["spec"]["volumes"][0]["secret"]["secretName"]})
    (old,) = [name for name in made["data"] if name.startswith(kid)]
    assert base64.b64decode(made["data"][old]) == target.read_bytes()

    def states():
        listed = run_jotd("key", "list", "--json", env={"JOTD_KEYS_DIR": str(job.published)}).stdout
        return [key["state"] for key in json.loads(listed)]

    job.publish(made)
    assert states() == ["signing", "next"]
    assert job.run() == made
    ended = {"data": {name.replace(old, f"{kid}.ES256.1.2.pem"): value
                      for name, value in made["data"].items()}}
    job.publish(ended)
    job.publish(job.run())
    assert states() == ["signing", "next"]  # no key signed, so there is one at once
    assert not list(job.published.glob(f"{kid}.*"))
