"""
Real servers for the tests, as processes of this machine or as containers:

    choice        which of the two
    embedded      a server as a process
    containers    a server as a container
    server        what tests do with a server, however it runs
    suite         the server that most tests share
    image         an image, where none can be got
    topologies    several servers that belong together
    certificates  what TLS needs
    sites         the demo site, served as sites are
"""

from .certificates import Certificates as Certificates
from .choice import NoBackend as NoBackend
from .choice import backend as backend
from .choice import close as close
from .containers import Docker as Docker
from .server import NotStarted as NotStarted
from .server import Server as Server
from .sites import APPLICATION_SERVERS as APPLICATION_SERVERS
from .sites import ROOT as ROOT
from .sites import serving as serving
from .sites import site_environment as site_environment
from .suite import Given as Given
from .suite import suite_server as suite_server
from .topologies import cluster as cluster
from .topologies import replica as replica
from .topologies import sentinels as sentinels
from .topologies import swap as swap
from .topologies import tls as tls
from .waiting import free_port as free_port
from .waiting import wait_until as wait_until
