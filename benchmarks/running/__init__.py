"""How questions are measured and shown: rounds, the machine, results, pictures, the page."""
