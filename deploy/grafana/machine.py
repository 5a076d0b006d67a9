"""Rows of dashboards about processes, machines, devices and GPUs, and about drift of what models see and say."""

from __future__ import annotations

from typing import Final

from deploy.grafana.dashboard import OURS, of, rate
from deploy.grafana.panels import Ask, Panel, Row, Step
from telemetry.conventions import (
    DRIFT_LIMIT,
    DRIFT_PSI,
    DRIFT_ROWS,
    DRIFTING,
    OUTPUT_CLASS_ROWS,
    OUTPUT_CONSTANT,
    OUTPUT_FLAGGED_ROWS,
)
from telemetry.machine_conventions import (
    DEVICE_BUSY,
    GPU_CLOCK_EVENT,
    GPU_DRAM_ACTIVE,
    GPU_ECC_ERRORS,
    GPU_MEMORY,
    GPU_MEMORY_USED,
    GPU_POWER,
    GPU_POWER_LIMIT,
    GPU_PROCESS_MEMORY,
    GPU_SM_ACTIVE,
    GPU_TEMPERATURE,
    GPU_TENSOR_ACTIVE,
    GPU_UTILIZATION,
    GPU_XIDS,
    GROUP_MEMORY,
    GROUP_MEMORY_LIMIT,
    GROUP_OOM_KILLS,
    HOST_AVAILABLE,
    HOST_CPU,
    HOST_MEMORY,
    HOST_OOM_KILLS,
    HOST_PRESSURE,
    LOOP_LAG,
    PROCESS_CPU,
    PROCESS_MAX_FDS,
    PROCESS_OPEN_FDS,
    PROCESS_RESIDENT,
    STATE_DISK,
    STATE_DISK_FREE,
)

_PROCESS: Final = "{{process}} {{version}} {{pid}}"
_BY_PROCESS: Final = "process, version, pid, instance"
_GPU: Final = "{{instance}} GPU {{gpu}}"
_BY_GPU: Final = "instance, gpu"
_BY_FIELD: Final = "version, side, field, measure"
_AT_WORK: Final = rate(of(HOST_CPU, 'mode!="idle"'))
_FULL: Final = (Step("green"), Step("orange", 0.8), Step("red", 0.95))

PROCESSES: Final = Row(
    "Processes",
    (
        Panel(
            "Memory of processes",
            "What each process of the model has in RAM; one that only grows leaks.",
            "timeseries",
            "bytes",
            (Ask(f"max by ({_BY_PROCESS}) ({of(PROCESS_RESIDENT)})", _PROCESS),),
            min_value=0.0,
        ),
        Panel(
            "Processors",
            "How many processors each process keeps busy, in its own code and in the kernel.",
            "timeseries",
            "short",
            (Ask(f"sum by ({_BY_PROCESS}) ({rate(of(PROCESS_CPU))})", _PROCESS),),
            min_value=0.0,
        ),
        Panel(
            "Lag of event loops",
            "By how much a process was late at worst to answer anything at all.",
            "timeseries",
            "s",
            (Ask(f"max by (process, version, instance) ({of(LOOP_LAG)})", "{{process}} {{version}}"),),
            min_value=0.0,
        ),
        Panel(
            "Descriptors",
            "Share of the descriptors that may be open: sockets, files, pipes.",
            "timeseries",
            "percentunit",
            (
                Ask(
                    f"max by ({_BY_PROCESS}) ({of(PROCESS_OPEN_FDS)}) / max by ({_BY_PROCESS}) ({of(PROCESS_MAX_FDS)})",
                    _PROCESS,
                ),
            ),
            steps=_FULL,
            min_value=0.0,
        ),
    ),
)

DEVICES: Final = Row(
    "Devices and GPUs",
    (
        Panel(
            "Device busy",
            "Share of the last minute in which the pod's batches held its device, as its inference process measured.",
            "timeseries",
            "percentunit",
            (Ask(f"max by (version, device, instance) ({of(DEVICE_BUSY)})", "{{version}} {{device}} {{instance}}"),),
            min_value=0.0,
            max_value=1.0,
        ),
        Panel(
            "GPUs at work",
            "Any kernel at all; multiprocessors, tensor cores and the memory's bandwidth where the GPU tells them.",
            "timeseries",
            "percentunit",
            tuple(
                Ask(f"max by ({_BY_GPU}) ({of(metric)})", f"{_GPU} {what}")
                for metric, what in (
                    (GPU_UTILIZATION, "any kernel"),
                    (GPU_SM_ACTIVE, "multiprocessors"),
                    (GPU_TENSOR_ACTIVE, "tensor cores"),
                    (GPU_DRAM_ACTIVE, "memory bandwidth"),
                )
            ),
            min_value=0.0,
            max_value=1.0,
        ),
        Panel(
            "Memory of GPUs",
            "Share that is taken, by whomever.",
            "timeseries",
            "percentunit",
            (Ask(f"max by ({_BY_GPU}) ({of(GPU_MEMORY_USED)}) / max by ({_BY_GPU}) ({of(GPU_MEMORY)})", _GPU),),
            steps=_FULL,
            min_value=0.0,
            max_value=1.0,
        ),
        Panel(
            "Who has the GPUs' memory",
            "Of all models, for they share GPUs; what has no model is not of this mesh.",
            "timeseries",
            "bytes",
            (
                Ask(
                    f"sum by ({_BY_GPU}, model, version, pid) ({GPU_PROCESS_MEMORY.name}{{{OURS}}})",
                    f"{_GPU} {{{{model}}}} {{{{version}}}} {{{{pid}}}}",
                ),
            ),
            is_stacked=True,
            min_value=0.0,
        ),
        Panel(
            "Power",
            "What GPUs draw, and what they are held to.",
            "timeseries",
            "watt",
            (
                Ask(f"max by ({_BY_GPU}) ({of(GPU_POWER)})", _GPU),
                Ask(f"max by ({_BY_GPU}) ({of(GPU_POWER_LIMIT)})", f"{_GPU} limit"),
            ),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Temperature",
            "Of the chips.",
            "timeseries",
            "celsius",
            (Ask(f"max by ({_BY_GPU}) ({of(GPU_TEMPERATURE)})", _GPU),),
            width=8,
        ),
        Panel(
            "Clocks held back",
            "Why clocks are not higher: idle is no trouble, a cap on power or a hot chip is.",
            "state-timeline",
            "short",
            (Ask(f"max by ({_BY_GPU}, reason) ({of(GPU_CLOCK_EVENT)}) > 0", f"{_GPU} {{{{reason}}}}"),),
            width=8,
        ),
        Panel(
            "Errors of GPUs",
            "Errors of memory, and those that the driver told of by NVIDIA's number (Xid).",
            "timeseries",
            "short",
            (
                Ask(
                    f"sum by ({_BY_GPU}, kind) (increase({of(GPU_ECC_ERRORS)}[$__rate_interval])) > 0",
                    f"{_GPU} {{{{kind}}}}",
                ),
                Ask(
                    f"sum by ({_BY_GPU}, xid) (increase({of(GPU_XIDS)}[$__rate_interval])) > 0",
                    f"{_GPU} Xid {{{{xid}}}}",
                ),
            ),
            width=24,
            min_value=0.0,
        ),
    ),
)

DRIFT: Final = Row(
    "Drift",
    (
        Panel(
            "How far inputs and outputs have moved",
            "The stability index of the last window over its limit: above 1 the window has moved.",
            "timeseries",
            "short",
            (
                Ask(
                    f"max by ({_BY_FIELD}) ({of(DRIFT_PSI)}) / max by ({_BY_FIELD}) ({of(DRIFT_LIMIT)})",
                    "{{version}} {{side}} {{field}} {{measure}}",
                ),
            ),
            steps=(Step("green"), Step("red", 1.0)),
            min_value=0.0,
        ),
        Panel(
            "Drifting",
            "Versions of which some measure was above its limit three windows in a row.",
            "state-timeline",
            "short",
            (Ask(f"max by (version) ({of(DRIFTING)}) > 0", "{{version}}"),),
        ),
        Panel(
            "Classes",
            "Shares of the classes that the model gives, of the rows that were summarised.",
            "timeseries",
            "percentunit",
            (
                Ask(
                    f"sum by (version, field, class) ({rate(of(OUTPUT_CLASS_ROWS))}) / ignoring (class) group_left () "
                    f"(sum by (version, field) ({rate(of(OUTPUT_CLASS_ROWS))}) > 0)",
                    "{{version}} {{field}} {{class}}",
                ),
            ),
            is_stacked=True,
            min_value=0.0,
            max_value=1.0,
        ),
        Panel(
            "Odd outputs",
            "Rows with an output that is no number, out of range or missing; and fields that say the same of all rows.",
            "timeseries",
            "reqps",
            (
                Ask(
                    f"sum by (version, field, what) ({rate(of(OUTPUT_FLAGGED_ROWS))}) > 0",
                    "{{version}} {{field}} {{what}}",
                ),
                Ask(f"max by (version, field) ({of(OUTPUT_CONSTANT)}) > 0", "{{version}} {{field}} constant"),
            ),
            min_value=0.0,
        ),
        Panel(
            "Rows that were looked at",
            "Rows whose inputs or outputs were summarised: drift of a version with few of them says little.",
            "timeseries",
            "reqps",
            (Ask(f"sum by (version, side) ({rate(of(DRIFT_ROWS))})", "{{version}} {{side}}"),),
            width=24,
            min_value=0.0,
        ),
    ),
)

MACHINE: Final = Row(
    "Machines",
    (
        Panel(
            "Processors of machines",
            "How many processors do what; steal is what the machine below took.",
            "timeseries",
            "short",
            (
                Ask(
                    f"sum by (instance, mode) ({_AT_WORK})",
                    "{{instance}} {{mode}}",
                ),
            ),
            width=8,
            is_stacked=True,
            min_value=0.0,
        ),
        Panel(
            "Memory taken",
            "Of the machine, and of the control group that is nearest its limit.",
            "timeseries",
            "percentunit",
            (
                Ask(
                    f"1 - max by (instance) ({of(HOST_AVAILABLE)}) / max by (instance) ({of(HOST_MEMORY)})",
                    "{{instance}}",
                ),
                Ask(
                    f"max by (instance) ({of(GROUP_MEMORY)}) / max by (instance) ({of(GROUP_MEMORY_LIMIT)})",
                    "{{instance}} control group",
                ),
            ),
            width=8,
            steps=_FULL,
            min_value=0.0,
            max_value=1.0,
        ),
        Panel(
            "Killed for want of memory",
            "Processes that the kernel killed, of the machine and of the control group.",
            "timeseries",
            "short",
            (
                Ask(f"sum by (instance) (increase({of(HOST_OOM_KILLS)}[$__rate_interval]))", "{{instance}}"),
                Ask(
                    f"sum by (instance) (increase({of(GROUP_OOM_KILLS)}[$__rate_interval]))",
                    "{{instance}} control group",
                ),
            ),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Pressure",
            "Share of the time in which tasks waited for a resource: some of them, or all (full).",
            "timeseries",
            "percentunit",
            (
                Ask(
                    f"sum by (instance, resource, kind) ({rate(of(HOST_PRESSURE))})",
                    "{{instance}} {{resource}} {{kind}}",
                ),
            ),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Disk taken",
            "Of the file system that has the state directory: budgets, audit, waiting spans.",
            "timeseries",
            "percentunit",
            (
                Ask(
                    f"1 - max by (instance) ({of(STATE_DISK_FREE)}) / max by (instance) ({of(STATE_DISK)})",
                    "{{instance}}",
                ),
            ),
            width=8,
            steps=_FULL,
            min_value=0.0,
            max_value=1.0,
        ),
        Panel(
            "GPUs",
            "Share of the time in which any kernel ran, and of the memory that is taken.",
            "timeseries",
            "percentunit",
            (
                Ask(f"max by ({_BY_GPU}) ({of(GPU_UTILIZATION)})", f"{_GPU} any kernel"),
                Ask(
                    f"max by ({_BY_GPU}) ({of(GPU_MEMORY_USED)}) / max by ({_BY_GPU}) ({of(GPU_MEMORY)})",
                    f"{_GPU} memory",
                ),
            ),
            width=8,
            min_value=0.0,
            max_value=1.0,
        ),
    ),
)
