"""
How costs grow: with the number of sessions, their size, and how many ask at once.

    python -m benchmarks.growth [--full] [--write] [MEASURE ...]

    commands, crowds, keys, requests, sizes
                the measures
    environment of the process
    filling     fills servers with sessions
    ground      the servers, and the engine on them
    patient_settings
                of the engine
    probe       another client of a server that is busy
    rivals      what sites do where this engine has commands
    sizing      what follows for so many sessions
    report      what becomes of the figures
"""
