"""Debian's python3-docker against whatever DOCKER_HOST is: one object a step."""

import io
import json
import os
import tarfile
import time

import docker
from docker.types import LogConfig, Mount, Ulimit

client = docker.from_env(timeout=25)
api = client.api


def plain(value):
    """value as JSON has it: bytes as text, objects by their attributes."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return plain(getattr(value, "attrs", str(value)))


def step(name, do):
    """Print what a step gives or how it fails, and return what it gives."""
    out = {"step": name}
    value = None
    try:
        value = do()
        out["value"] = plain(value)
    except docker.errors.ContainerError as e:
        out["error"] = [type(e).__name__, e.exit_status, plain(e.stderr)]
    except docker.errors.APIError as e:
        status = e.response.status_code if e.response is not None else None
        out["error"] = [type(e).__name__, status, str(e.explanation)]
    except Exception as e:  # whatever a user would meet
        out["error"] = [type(e).__name__, str(e)]
    print(json.dumps(out), flush=True)
    return value


def until(true):
    for _ in range(200):
        if true():
            return True
        time.sleep(0.05)
    return False


def tar(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            t.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def untar(chunks):
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as t:
        return {m.name: t.extractfile(m).read().decode() if m.isfile() else m.type.decode() for m in t}


def names(things):
    return sorted(t.name for t in things)


C, I, N, V = client.containers, client.images, client.networks, client.volumes
cores = "0-%d" % (os.cpu_count() - 1)
# No room is left on the node that is asked, if there are others.
hold = step("hold", lambda: C.run("busybox", "sleep 10000", name="hold", detach=True, cpuset_cpus=cores, labels={"ddocker.node": "h2"}).name)

# the system
step("ping", client.ping)
step("version", lambda: {k: client.version().get(k) for k in ("ApiVersion", "MinAPIVersion", "Os", "Arch", "Version")})
step("version components", lambda: [c["Name"] for c in client.version()["Components"]])
step("info", lambda: {k: client.info().get(k) for k in ("Containers", "ContainersRunning", "Images", "OSType", "Driver", "MemoryLimit", "SwapLimit", "IndexServerAddress", "Swarm")})
step("info keys", lambda: sorted(set(client.info()) - {"SystemStatus"}))
step("version keys", lambda: sorted(client.version()))
step("df keys", lambda: sorted(client.df()))
step("login", lambda: client.login("a", "b", registry="127.0.0.1:1"))

# run
step("run", lambda: C.run("busybox", "echo hello"))
step("run stderr", lambda: C.run("busybox", ["sh", "-c", "echo out; echo err >&2"], stdout=False, stderr=True, remove=True))
step("run fails", lambda: C.run("busybox", ["sh", "-c", "echo err >&2; exit 3"], remove=True))
step("run no command", lambda: C.run("busybox", "nosuchcommand", remove=True))
step("run no image", lambda: C.create("127.0.0.1:1/nosuch:none", "true"))
step("run stream", lambda: list(C.run("busybox", ["sh", "-c", "echo a; echo b"], stream=True)))
step("prune", lambda: len(C.prune()["ContainersDeleted"]))
step("run with all", lambda: C.run(
    "busybox", ["sh", "-c", "id -u; hostname; echo $X; pwd; ls /t"], remove=True, user="1000", hostname="box",
    environment={"X": "x"}, working_dir="/proc", tmpfs={"/t": "size=1m"}, read_only=True, mem_limit="64m",
    nano_cpus=500000000, pids_limit=50, shm_size="16m", init=True, cap_drop=["MKNOD"], ulimits=[Ulimit(name="nofile", soft=64, hard=128)],
    labels=["l"], dns=["10.1.1.1"], extra_hosts={"a.b": "10.0.0.1"}, log_config=LogConfig(type="json-file", config={"max-size": "1m"})))

# create and inspect
c = step("create", lambda: C.create("busybox", "sleep 1000", name="cc", labels={"a": "b"}, ports={"80/tcp": None, "81/udp": 28181}, stop_signal="KILL"))
step("create again", lambda: C.create("busybox", name="cc"))
step("create bad name", lambda: C.create("busybox", name="b:c"))
step("create bad memory", lambda: C.create("busybox", mem_limit="1k"))
step("create keys", lambda: sorted(api.create_container("busybox", name="keys")))
step("remove by name", lambda: api.remove_container("keys"))
step("status", lambda: (c.status, c.name, c.labels, c.image.tags))
step("start", c.start)
step("start again", c.start)
step("reload", lambda: (c.reload(), c.status)[1])
step("ports", lambda: {k: len(v) for k, v in c.ports.items()})
step("attrs", lambda: c.attrs)
well = step("health", lambda: C.run("busybox", "sleep 1000", name="well", detach=True, healthcheck={"test": ["CMD", "true"], "interval": 300000000}))
step("healthy", lambda: until(lambda: (well.reload(), well.attrs["State"]["Health"]["Status"])[1] == "healthy"))
step("health gone", lambda: well.remove(force=True))
step("get", lambda: C.get("cc").name)
step("get by prefix", lambda: C.get(c.id[:9]).name)
step("get unknown", lambda: C.get("nosuch"))
step("inspect unknown", lambda: api.inspect_container("nosuch"))
step("pause", c.pause)
step("paused", lambda: C.get("cc").status)
step("pause again", c.pause)
step("unpause", c.unpause)
step("rename", lambda: (c.rename("dd"), C.get("dd").id == c.id)[1])
step("rename taken", lambda: c.rename("hold"))
step("rename back", lambda: c.rename("cc"))
step("restart", lambda: c.restart(timeout=0))
step("kill", lambda: c.kill("USR1"))
step("kill nonsense", lambda: c.kill("NONSENSE"))
step("top", lambda: c.top()["Titles"])
step("top args", lambda: [p[0] for p in c.top(ps_args="-o comm,pid")["Processes"]])
step("stats", lambda: sorted(c.stats(stream=False)))
step("stats name", lambda: c.stats(stream=False)["name"])
step("stats stream", lambda: sorted(next(c.stats(decode=True))["memory_stats"]))
step("update", lambda: c.update(mem_limit="96m", memswap_limit="200m"))
step("updated", lambda: C.get("cc").attrs["HostConfig"]["Memory"])
step("update nonsense", lambda: c.update(cpuset_cpus="nonsense"))
step("resize", lambda: c.resize(10, 20))
step("diff", lambda: c.diff())

# exec
step("exec", lambda: c.exec_run("echo inside"))
step("exec demux", lambda: c.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True))
step("exec env", lambda: c.exec_run(["sh", "-c", "echo $A; pwd; id -u"], environment={"A": "1"}, workdir="/bin", user="7"))
step("exec tty", lambda: c.exec_run(["sh", "-c", "test -t 1 && echo terminal"], tty=True))
step("exec detach", lambda: c.exec_run("true", detach=True)[1])
step("exec stream", lambda: b"".join(c.exec_run(["sh", "-c", "echo a; echo b"], stream=True)[1]))
step("exec unknown command", lambda: c.exec_run("nosuchcommand"))
step("exec create", lambda: sorted(api.exec_create("cc", "true")))
step("exec unknown container", lambda: api.exec_create("nosuch", "true"))
step("exec unknown", lambda: api.exec_inspect("nosuch"))
e = api.exec_create("cc", ["sh", "-c", "exit 5"])["Id"]
step("exec inspect before", lambda: {k: v for k, v in api.exec_inspect(e).items() if k not in ("ID", "ContainerID")})
step("exec start", lambda: api.exec_start(e))
step("exec inspect after", lambda: (api.exec_inspect(e)["ExitCode"], api.exec_inspect(e)["Running"]))


def spoken():
    cat = api.exec_create("cc", "cat", stdin=True)["Id"]
    sock = api.exec_start(cat, socket=True)
    raw = getattr(sock, "_sock", sock)
    raw.sendall(b"spoken\n")
    raw.shutdown(1)
    return b"".join(iter(lambda: raw.recv(4096), b""))[8:]


step("exec socket half closed", spoken)

# attach and logs
a = step("attach create", lambda: C.create("busybox", ["sh", "-c", "read x; echo got $x; echo err >&2"], name="aa", stdin_open=True))


def attached():
    sock = a.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    raw = getattr(sock, "_sock", sock)
    a.start()
    raw.sendall(b"this\n")
    return b"".join(iter(lambda: raw.recv(4096), b""))[8:]


step("attach socket", attached)
step("wait", lambda: a.wait())
step("wait condition", lambda: a.wait(condition="not-running"))
step("wait unknown", lambda: api.wait("nosuch"))
step("logs", lambda: a.logs(stderr=False))
step("logs stderr", lambda: a.logs(stdout=False))
step("logs tail", lambda: a.logs(stderr=False, tail=2, timestamps=True))
step("logs since", lambda: a.logs(since=int(time.time()) + 100))
step("logs stream", lambda: list(a.logs(stderr=False, stream=True, follow=True)))
step("logs nothing", lambda: api.logs("aa", stdout=False, stderr=False))
step("remove", a.remove)
step("remove again", a.remove)

# archives
step("put archive", lambda: c.put_archive("/", tar(one="1\n", two="2\n")))
step("put archive nowhere", lambda: c.put_archive("/nosuch", tar(one="1")))
step("get archive", lambda: untar(c.get_archive("/one")[0]))
step("get archive stat", lambda: {k: v for k, v in c.get_archive("/two")[1].items() if k != "mtime"})
step("get archive unknown", lambda: c.get_archive("/nosuch"))
step("export", lambda: {k: v for k, v in untar(c.export()).items() if k in ("one", "two")})

# lists
step("list", lambda: names(C.list()))
step("list all", lambda: names(C.list(all=True)))
step("all but hold are elsewhere", lambda: [n for n in names(docker.DockerClient(base_url=os.environ["ENTRY"]).containers.list(all=True)) if n != "hold"] if os.environ["ENTRY"] else [])
step("list filters", lambda: names(C.list(all=True, filters={"label": "a=b", "status": "running"})))
step("list ancestor", lambda: names(C.list(filters={"ancestor": "busybox", "name": "^/cc$"})))
step("list limit", lambda: len(C.list(limit=1)))
step("list sparse", lambda: [x.attrs["State"] for x in C.list(sparse=True, filters={"name": "^/cc$"})])
step("list row", lambda: api.containers(filters={"name": "^/cc$"}))
step("list size", lambda: sorted(api.containers(size=True, filters={"name": "^/cc$"})[0]))
step("list bad filter", lambda: C.list(filters={"nonsense": "1"}))
step("list by id", lambda: len(C.list(filters={"id": c.id})))

# images
step("image", lambda: I.get("busybox").attrs)
step("image unknown", lambda: I.get("nosuch"))
step("image list", lambda: sorted(t for i in I.list() for t in i.tags))
step("image list name", lambda: [i.tags for i in I.list(name="busybox")])
step("image list filter", lambda: I.list(filters={"dangling": True}))
step("image list row", lambda: api.images("busybox"))
step("image history", lambda: I.get("busybox").history())
step("image tag", lambda: I.get("busybox").tag("sdk/tagged", "x"))
step("image tagged", lambda: sorted(I.get("busybox").tags))
step("image untag", lambda: I.remove("sdk/tagged:x"))
step("image remove unknown", lambda: I.remove("nosuch"))
step("image pull", lambda: I.pull("127.0.0.1:1/nosuch", tag="x"))
step("image push", lambda: [json.loads(x) for x in I.push("127.0.0.1:1/nosuch").splitlines()])
step("commit", lambda: c.commit("sdk/committed", "y", message="m", author="a", changes=["ENV Q=1"]).tags)
step("committed", lambda: C.run("sdk/committed:y", ["sh", "-c", "cat /one; echo $Q"], remove=True))
saved = step("save", lambda: len(b"".join(I.get("sdk/committed:y").save(named=True))) > 1000)
data = b"".join(I.get("sdk/committed:y").save(named=True)) if saved else b""
step("committed remove", lambda: I.remove("sdk/committed:y"))
step("load", lambda: [i.tags for i in I.load(data)])
step("loaded remove", lambda: I.remove("sdk/committed:y"))
step("import", lambda: I.client.api.import_image_from_data(tar(file="text\n"), repository="sdk/imported", tag="z")[:9])
step("imported", lambda: I.get("sdk/imported:z").attrs["RootFS"]["Type"])
step("imported remove", lambda: I.remove("sdk/imported:z"))


def built():
    image, lines = I.build(path=os.path.join(os.path.dirname(os.path.abspath(__file__)), "files/build"), tag="sdk/built:1", rm=True, buildargs={"WORD": "sdk"})
    return image.tags, [l.get("stream", "").split(" in ")[0] for l in lines if l.get("stream", "").startswith("Step")]


step("build", built)
step("built", lambda: C.run("sdk/built:1", remove=True))
step("build fails", lambda: I.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 7\n"), rm=True, forcerm=True))
step("build nonsense", lambda: I.build(fileobj=io.BytesIO(b"NONSENSE\n")))
step("built remove", lambda: I.remove("sdk/built:1", force=True))
step("image prune", lambda: sorted(I.prune(filters={"dangling": True})))
step("image list after", lambda: sorted(t for i in I.list() for t in i.tags))

# networks
n = step("network create", lambda: N.create("sdknet", driver="bridge", labels={"l": "1"}, check_duplicate=True))
step("network create again", lambda: N.create("sdknet", check_duplicate=True))
step("network attrs", lambda: N.get("sdknet").attrs)
step("network unknown", lambda: N.get("nosuch"))
step("network list", lambda: names(N.list()))
step("network list names", lambda: names(N.list(names=["sdknet"])))
step("network list greedy", lambda: [len(x.containers) for x in N.list(names=["sdknet"], greedy=True)])
step("network list filter", lambda: names(N.list(filters={"label": "l=1"})))
s = step("network server", lambda: C.run("busybox", ["sh", "-c", "while true; do echo served | nc -l -p 80; done"], name="server", network="sdknet", detach=True))
step("network by name", lambda: C.run("busybox", ["sh", "-c", "until busybox nc -w 1 server 80 | busybox grep served; do sleep 0.1; done"], network="sdknet", remove=True))
step("network connect elsewhere", lambda: N.get("sdknet").connect("nosuch"))
c2 = step("network joiner", lambda: C.run("busybox", "sleep 1000", name="joiner", detach=True, environment=["affinity:container==server"]))
step("network connect", lambda: N.get("sdknet").connect("joiner", aliases=["other"]))
step("network connected", lambda: sorted(C.get("joiner").attrs["NetworkSettings"]["Networks"]))
step("network containers", lambda: names(N.get("sdknet").containers))
step("network disconnect", lambda: N.get("sdknet").disconnect("joiner"))
step("network disconnected", lambda: sorted(C.get("joiner").attrs["NetworkSettings"]["Networks"]))
step("network disconnect again", lambda: N.get("sdknet").disconnect("joiner"))
step("network remove in use", lambda: N.get("sdknet").remove())
step("network server gone", lambda: C.get("server").remove(force=True))
step("network joiner gone", lambda: C.get("joiner").remove(force=True))
step("network remove", lambda: N.get("sdknet").remove())
step("network prune", lambda: N.prune())

# volumes
v = step("volume create", lambda: V.create("sdkvol", driver="local", labels={"k": "v"}))
step("volume again", lambda: V.create("sdkvol").name)
step("volume attrs", lambda: V.get("sdkvol").attrs)
step("volume unknown", lambda: V.get("nosuch"))
step("volume list", lambda: [x for x in names(V.list()) if x == "sdkvol"])
step("volume list filter", lambda: names(V.list(filters={"label": "k=v"})))
step("volume list raw", lambda: sorted(api.volumes()))
step("volume write", lambda: C.run("busybox", ["sh", "-c", "echo kept >/d/f"], volumes={"sdkvol": {"bind": "/d", "mode": "rw"}}, remove=True))
step("volume read", lambda: C.run("busybox", "cat /d/f", mounts=[Mount("/d", "sdkvol", read_only=True)], remove=True))
step("volume user", lambda: C.create("busybox", name="user", volumes=["sdkvol:/d"]).attrs["Mounts"])
step("volume in use", lambda: V.get("sdkvol").remove())
step("volume user gone", lambda: C.get("user").remove())
step("volume remove", lambda: V.get("sdkvol").remove())
step("volume prune", lambda: sorted(V.prune()))

# events
since = time.time()
step("event cause", lambda: C.run("busybox", "true", name="evented", remove=True))
until_ = time.time() + 0.5
step("events", lambda: [(e["Type"], e["Action"], e["Actor"]["Attributes"].get("name")) for e in client.events(since=since, until=until_, decode=True, filters={"type": "container", "container": "evented"})])
step("event", lambda: [e for e in client.events(since=since, until=until_, decode=True, filters={"event": "die"})])
step("events filters", lambda: len(list(client.events(since=since, until=until_, decode=True, filters={"container": "evented", "event": ["create", "start"]}))))


def live():
    stream = client.events(decode=True, filters={"event": "start", "type": "container"})
    api.start(api.create_container("busybox", "true", name="live"))
    seen = next(stream)["Actor"]["Attributes"]["name"]
    stream.close()
    return seen


step("events live", live)
step("events live gone", lambda: C.get("live").remove(force=True))

# the end
step("stop", lambda: c.stop(timeout=0))
step("stopped", lambda: C.get("cc").attrs["State"]["ExitCode"])
step("prune one", lambda: len(C.prune()["ContainersDeleted"]))
step("prune filter", lambda: C.prune(filters={"label": "nosuch"}))
step("swarm", lambda: client.swarm.attrs)
step("services", lambda: client.services.list())
step("nodes", lambda: client.nodes.list())
step("secrets", lambda: client.secrets.list())
step("plugins", lambda: client.plugins.list())
step("hold gone", lambda: C.get("hold").remove(force=True))
step("nothing left", lambda: (names(C.list(all=True)), names(V.list())))
