"""HTTP/1.1 to the providers: a transport below httpx2's interface, in a third of the processor time of its own.

httpx2's own transport takes some 1,000 Python calls for an answer, most of them cold after a provider's pause. This one
parses with httptools, as the server side does. Proxies are left to httpx2.
"""

from cachecore_proxy.http11.pool import DirectTransport

__all__ = ["DirectTransport"]
