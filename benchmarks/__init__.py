"""
What a session costs with this engine, and with those that it competes with:

    python -m benchmarks [--full] [--write] [MEASURE ...]

The first folders below are older: each measures one thing of its own.

    engines     who competes, and with which settings
    settings    of the site that is measured
    site, app   its pages, and itself for servers
    data        what its sessions hold
    visits      what its visitors do
    floor       clients without an engine: nobody can be faster
    worker      a process that uses one of the engines
    crew        starts the workers, and asks each in its turn
    ground      the servers that all of them use
    proxies     what stands between, and counts or delays
    inside      what of an operation is GLIDE's
    figures     medians, spreads, ratios
    load        a process that sends requests
    costs, latency, network, serving, stored, startup
                the measures
    profile     the measure that shows why (a folder)
    run         the command
    targets     what is to be reached
    charts, report
                what becomes of the figures
"""
