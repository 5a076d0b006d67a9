"""HTTP/1.1 as both of our edges accept it: a strict gate over llhttp, sans I/O (bytes in, events out)."""

from model_pod.wire.http1.body import BodyTooLarge
from model_pod.wire.http1.head import HeadLimits, RequestHead, ResponseHead
from model_pod.wire.http1.reader import END, End, RequestReader, ResponseReader

__all__ = [
    "END",
    "BodyTooLarge",
    "End",
    "HeadLimits",
    "RequestHead",
    "RequestReader",
    "ResponseHead",
    "ResponseReader",
]
