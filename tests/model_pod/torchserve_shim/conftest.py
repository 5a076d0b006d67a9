"""The shim is imported by the name that handlers use: ``ts``"""

from model_pod.engine.shim import install_shim

install_shim()
