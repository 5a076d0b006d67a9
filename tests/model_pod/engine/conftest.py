"""The engine's modules import ``ts``, as handlers do."""

from model_pod.engine.shim import install_shim

install_shim()
