"""What plugin authors and this project's own tests share: the conformance suite, real servers, faults."""
