# SPDX-License-Identifier: GPL-2.0-or-later
"""The inner process of the bench: one measurement, one line of JSON.

Called by run.py inside a private network with a job as JSON; answers with
{"result": {...}} or {"error": "..."} in the file that the job names.
"""

import json
import os
import sys
import traceback
from typing import Any, Dict

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "functional"))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from colo import diskload, private, storm  # noqa: E402
from colo.case import Context  # noqa: E402
import compare_alone  # noqa: E402
import disks  # noqa: E402
import endurance  # noqa: E402
import measure  # noqa: E402
import network  # noqa: E402
import streams  # noqa: E402


def do_job(context: Context, job: Dict[str, Any]) -> Dict[str, Any]:
    """Run the job of that kind."""
    kind = job["kind"]
    if kind == "soak":
        return endurance.soak(context, job["count"])
    if kind == "compare-alone":
        return compare_alone.measure(context, job)
    if kind == "kill":
        return {"gap-ms": storm.one_kill(context, job["side"], job["seed"])}
    if kind == "stream":
        return streams.stream(context, job["work"], job["seed"])
    if kind == "disk-writes":
        return disks.writes(context, job["disk"])
    if kind == "disk-resync":
        return disks.resync(context)
    if kind == "disk-kill":
        diskload.one_kill(context, job["disk"], job["side"], job["seed"])
        return {"whole": 1}
    if kind == "traffic":
        return network.traffic(context)
    if kind == "mixed":
        return streams.mixed(context)
    plan = measure.Plan(**job["plan"])
    if kind == "unprotected":
        return measure.unprotected(context, plan)
    return measure.protected(context, plan)


def give_each_host_a_cpu(context: Context) -> None:
    """The secondary gets one, all the rest, with the client, another."""
    first, second, *_ = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {first})
    context.secondary_cpus = {second}


def main() -> int:
    """Entry point."""
    job = json.loads(sys.argv[1])
    run_dir = private.enter()
    os.makedirs(job["log-dir"], exist_ok=True)
    context = Context(job["binary"], run_dir, job["log-dir"],
                      job["is-reference"], verbose=False)
    try:
        if job["one-cpu-per-host"]:
            give_each_host_a_cpu(context)
        answer: Dict[str, Any] = {"result": do_job(context, job)}
    except Exception as error:  # pylint: disable=broad-except
        with open(os.path.join(job["log-dir"], "error.log"), "w",
                  encoding="utf-8") as file:
            traceback.print_exc(file=file)
        answer = {"error": f"{type(error).__name__}: {error}"}
    finally:
        context.close()
    with open(job["answer"], "w", encoding="utf-8") as file:
        json.dump(answer, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
