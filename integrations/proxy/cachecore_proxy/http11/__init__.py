"""HTTP/1.1 to the providers: a transport below httpx2's interface, in a third of the processor time of its client.

That calls some 1,400 Python functions for an answer, most of them cold after a provider's pause; this one calls 200. It
parses with httptools, as the server side does. Proxies, bodies in parts and other methods are left to httpx2.
"""

from cachecore_proxy.http11.pool import DirectTransport

__all__ = ["DirectTransport"]
