"""Every metric of processes, of the machine and of its devices by name, once; a sidecar writes them.

The endings are those that Prometheus' client libraries give a process of their own (``resident_memory_bytes``,
``open_fds``), and the labels tell the processes of one sidecar apart.
"""

from __future__ import annotations

from telemetry.conventions import Metric

_OF_A_PROCESS = ("process", "model", "version", "pid")
_OF_A_DEVICE = ("model", "version", "device")
_OF_A_GPU = ("gpu",)

PROCESS_RESIDENT = Metric(
    "penstock_process_resident_memory_bytes",
    "gauge",
    "bytes",
    _OF_A_PROCESS,
    "Memory that the process has in RAM; what it shares with others counts whole.",
)
PROCESS_PROPORTIONAL = Metric(
    "penstock_process_proportional_memory_bytes",
    "gauge",
    "bytes",
    _OF_A_PROCESS,
    "Memory that the process has in RAM, its share of what it shares with others; read once a minute.",
)
PROCESS_CPU = Metric(
    "penstock_process_cpu_seconds_total",
    "counter",
    "seconds",
    (*_OF_A_PROCESS, "mode"),
    "Time on a processor: in the process's own code (user), or in the kernel for it (system).",
)
PROCESS_OPEN_FDS = Metric("penstock_process_open_fds", "gauge", "", _OF_A_PROCESS, "Descriptors that are open.")
PROCESS_MAX_FDS = Metric(
    "penstock_process_max_fds", "gauge", "", _OF_A_PROCESS, "Descriptors that may be open; absent without a limit."
)
PROCESS_THREADS = Metric("penstock_process_threads", "gauge", "", _OF_A_PROCESS, "Threads.")
PROCESS_SWITCHES = Metric(
    "penstock_process_context_switches_total",
    "counter",
    "",
    (*_OF_A_PROCESS, "kind"),
    "How often its main thread left the processor: to wait (voluntary), or for another one (involuntary).",
)
PROCESS_START = Metric(
    "penstock_process_start_time_seconds", "gauge", "seconds", _OF_A_PROCESS, "When it started, as seconds since 1970."
)
LOOP_LAG = Metric(
    "penstock_loop_lag_seconds",
    "gauge",
    "seconds",
    ("process", "model", "version"),
    "By how much the process's event loop was late at worst, lately.",
)

GROUP_MEMORY = Metric(
    "penstock_cgroup_memory_bytes",
    "gauge",
    "bytes",
    (),
    "Memory of the control group that is nearest its limit, without files' pages that could be given back at once.",
)
GROUP_MEMORY_LIMIT = Metric(
    "penstock_cgroup_memory_limit_bytes",
    "gauge",
    "bytes",
    (),
    "Memory that this control group allows; absent without a limit.",
)
GROUP_OOM_KILLS = Metric(
    "penstock_cgroup_oom_kills_total", "counter", "", (), "Processes of the control group killed for want of memory."
)
GROUP_THROTTLED = Metric(
    "penstock_cgroup_cpu_throttled_seconds_total",
    "counter",
    "seconds",
    (),
    "How long the control group was held back because its share of the processors was used up.",
)
GROUP_CPUS = Metric(
    "penstock_cgroup_cpus", "gauge", "", (), "Processors that the control group may use; absent without a limit."
)
GROUP_PRESSURE = Metric(
    "penstock_cgroup_pressure_seconds_total",
    "counter",
    "seconds",
    ("resource", "kind"),
    "How long tasks of the control group waited for the resource: some of them, or all that wanted to run (full).",
)

HOST_CPUS = Metric("penstock_host_cpus", "gauge", "", (), "Processors that the machine has.")
HOST_CPU = Metric(
    "penstock_host_cpu_seconds_total",
    "counter",
    "seconds",
    ("mode",),
    "What the machine's processors did; steal is what the machine below took.",
)
HOST_LOAD = Metric(
    "penstock_host_load", "gauge", "", ("over",), "Tasks that ran or wanted to, on average over this time."
)
HOST_MEMORY = Metric("penstock_host_memory_bytes", "gauge", "bytes", (), "Memory that the machine has.")
HOST_AVAILABLE = Metric(
    "penstock_host_memory_available_bytes",
    "gauge",
    "bytes",
    (),
    "Memory that could be had without swapping, as the kernel reckons.",
)
HOST_SWAP = Metric("penstock_host_swap_used_bytes", "gauge", "bytes", (), "Memory that was swapped out.")
HOST_OOM_KILLS = Metric(
    "penstock_host_oom_kills_total", "counter", "", (), "Processes of the machine killed for want of memory."
)
HOST_PRESSURE = Metric(
    "penstock_host_pressure_seconds_total",
    "counter",
    "seconds",
    ("resource", "kind"),
    "How long tasks of the machine waited for the resource: some of them, or all that wanted to run (full).",
)
STATE_DISK = Metric(
    "penstock_state_disk_bytes", "gauge", "bytes", (), "Size of the file system that has the state directory."
)
STATE_DISK_FREE = Metric(
    "penstock_state_disk_free_bytes", "gauge", "bytes", (), "What is left of it for whoever is not root."
)
STATE_DISK_FILES_FREE = Metric(
    "penstock_state_disk_files_free", "gauge", "", (), "How many more files it can have; absent where it does not say."
)

DEVICE_BUSY_SECONDS = Metric(
    "penstock_device_busy_seconds_total",
    "counter",
    "seconds",
    _OF_A_DEVICE,
    "How long the pod's batches held its device, as its inference process measured; lost batches tell none.",
)
DEVICE_BUSY = Metric(
    "penstock_device_busy_ratio",
    "gauge",
    "ratio",
    _OF_A_DEVICE,
    "Share of the last minute in which the pod's batches held its device.",
)

GPU_DRIVER_UP = Metric(
    "penstock_gpu_driver_up",
    "gauge",
    "",
    (),
    "1 when the NVIDIA driver answered the last questions in time, else 0; absent on a machine without one.",
)
GPU_UP = Metric(
    "penstock_gpu_up",
    "gauge",
    "",
    (*_OF_A_GPU, "uuid", "name"),
    "1 when the driver reaches the GPU, 0 when it says that the GPU is lost or has to be reset.",
)
GPU_UTILIZATION = Metric(
    "penstock_gpu_utilization_ratio",
    "gauge",
    "ratio",
    _OF_A_GPU,
    "Share of the driver's last sampling period in which any kernel ran, be it on one multiprocessor alone.",
)
GPU_SM_ACTIVE = Metric(
    "penstock_gpu_sm_active_ratio",
    "gauge",
    "ratio",
    _OF_A_GPU,
    "Share of the multiprocessors that were busy since the last reading; from Hopper on.",
)
GPU_TENSOR_ACTIVE = Metric(
    "penstock_gpu_tensor_active_ratio",
    "gauge",
    "ratio",
    _OF_A_GPU,
    "Share of the time since the last reading in which tensor cores worked; from Hopper on.",
)
GPU_DRAM_ACTIVE = Metric(
    "penstock_gpu_dram_active_ratio",
    "gauge",
    "ratio",
    _OF_A_GPU,
    "Share of the memory's bandwidth that was used since the last reading; from Hopper on.",
)
GPU_MEMORY = Metric("penstock_gpu_memory_bytes", "gauge", "bytes", _OF_A_GPU, "Memory that the GPU has.")
GPU_MEMORY_USED = Metric(
    "penstock_gpu_memory_used_bytes", "gauge", "bytes", _OF_A_GPU, "Memory of the GPU that is taken, by whomever."
)
GPU_PROCESS_MEMORY = Metric(
    "penstock_gpu_process_memory_bytes",
    "gauge",
    "bytes",
    (*_OF_A_GPU, "model", "version", "pid"),
    "Memory of the GPU that a pod's inference process has; all others together have no model and no pid.",
)
GPU_POWER = Metric("penstock_gpu_power_watts", "gauge", "watts", _OF_A_GPU, "Power that the GPU draws.")
GPU_POWER_LIMIT = Metric(
    "penstock_gpu_power_limit_watts", "gauge", "watts", _OF_A_GPU, "Power that the GPU is held to."
)
GPU_ENERGY = Metric(
    "penstock_gpu_energy_joules_total", "counter", "joules", _OF_A_GPU, "Energy drawn since the driver was loaded."
)
GPU_TEMPERATURE = Metric("penstock_gpu_temperature_celsius", "gauge", "celsius", _OF_A_GPU, "Temperature of the chip.")
GPU_CLOCK = Metric(
    "penstock_gpu_clock_hertz", "gauge", "hertz", (*_OF_A_GPU, "clock"), "Clock of the multiprocessors or the memory."
)
GPU_CLOCK_EVENT = Metric(
    "penstock_gpu_clock_event",
    "gauge",
    "",
    (*_OF_A_GPU, "reason"),
    "1 while this is a reason for the clocks not to be higher, else 0.",
)
GPU_ECC_ERRORS = Metric(
    "penstock_gpu_ecc_errors_total",
    "counter",
    "",
    (*_OF_A_GPU, "kind"),
    "Errors of the GPU's memory in its life: corrected, or uncorrected.",
)
GPU_REMAPPED_ROWS = Metric(
    "penstock_gpu_remapped_rows",
    "gauge",
    "",
    (*_OF_A_GPU, "kind"),
    "Rows of memory put out of use for corrected or uncorrected errors; 1 of pending and failed is yes.",
)
GPU_RETIRED_PAGES = Metric(
    "penstock_gpu_retired_pages",
    "gauge",
    "",
    (*_OF_A_GPU, "kind"),
    "Pages of memory put out of use, on GPUs from before Ampere, for single_bit or double_bit errors.",
)
GPU_XIDS = Metric(
    "penstock_gpu_xid_events_total",
    "counter",
    "",
    (*_OF_A_GPU, "xid"),
    "Errors that the driver told of since the sidecar started, by NVIDIA's number.",
)
GPU_UNREADABLE = Metric(
    "penstock_gpu_unreadable",
    "gauge",
    "",
    (*_OF_A_GPU, "call"),
    "1 for what this GPU or driver does not tell; it is asked no more.",
)
MACHINE_AGE = Metric(
    "penstock_sidecar_machine_age_seconds",
    "gauge",
    "seconds",
    (),
    "Time since processes and machine were last read; after 30 s what was read is left out.",
)

MACHINE_METRICS = (
    PROCESS_RESIDENT,
    PROCESS_PROPORTIONAL,
    PROCESS_CPU,
    PROCESS_OPEN_FDS,
    PROCESS_MAX_FDS,
    PROCESS_THREADS,
    PROCESS_SWITCHES,
    PROCESS_START,
    LOOP_LAG,
    GROUP_MEMORY,
    GROUP_MEMORY_LIMIT,
    GROUP_OOM_KILLS,
    GROUP_THROTTLED,
    GROUP_CPUS,
    GROUP_PRESSURE,
    HOST_CPUS,
    HOST_CPU,
    HOST_LOAD,
    HOST_MEMORY,
    HOST_AVAILABLE,
    HOST_SWAP,
    HOST_OOM_KILLS,
    HOST_PRESSURE,
    STATE_DISK,
    STATE_DISK_FREE,
    STATE_DISK_FILES_FREE,
    DEVICE_BUSY_SECONDS,
    DEVICE_BUSY,
    GPU_DRIVER_UP,
    GPU_UP,
    GPU_UTILIZATION,
    GPU_SM_ACTIVE,
    GPU_TENSOR_ACTIVE,
    GPU_DRAM_ACTIVE,
    GPU_MEMORY,
    GPU_MEMORY_USED,
    GPU_PROCESS_MEMORY,
    GPU_POWER,
    GPU_POWER_LIMIT,
    GPU_ENERGY,
    GPU_TEMPERATURE,
    GPU_CLOCK,
    GPU_CLOCK_EVENT,
    GPU_ECC_ERRORS,
    GPU_REMAPPED_ROWS,
    GPU_RETIRED_PAGES,
    GPU_XIDS,
    GPU_UNREADABLE,
    MACHINE_AGE,
)
