"""Answers as HAProxy 2.6.12 gave them, and such that are none."""

from __future__ import annotations

import pytest

from shuren.clients.haproxy import parse
from shuren.domain.errors import Unreachable
from shuren.domain.haproxy.converge import ObservedServer
from shuren.domain.haproxy.servers import Admin
from shuren.domain.haproxy.traffic import RowType, StatRow

STATE = """\
1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status \
srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl \
srv_check_port srv_check_addr srv_agent_addr srv_agent_port
3 b 1001 s1 127.0.0.1 2 0 100 100 3 6 3 4 6 0 0 1 - 18801 - 0 0 - - 0
3 b 1002 s2 2001:db8::1 0 5 33 100 3 1 0 0 14 0 0 1 - 18802 - 0 9000 - - 0

"""


def test_servers() -> None:
    first, second = parse.servers(STATE)
    assert first == ObservedServer(
        backend="b",
        name="s1",
        id=1001,
        address="127.0.0.1",
        port=18801,
        operation=2,
        admin=0,
        weight=100,
        check_status=6,
        check_state=6,
    )
    assert (first.state, first.up, first.serves, first.judged) == (Admin.READY, True, True, True)
    assert (second.state, second.up, second.judged, second.check_port, second.address) == (Admin.MAINT, False, False, 9000, "2001:db8::1")


@pytest.mark.parametrize(
    "text", ["", "2\n# x\n", "Unknown command\n", "1\n# x\n3 b 1 s\n", "1\n# x\n" + STATE.splitlines()[2].replace("1001", "x")]
)
def test_states_that_are_none(text: str) -> None:
    with pytest.raises(Unreachable):
        parse.servers(text)


STAT = """\
# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,\
lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,\
hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,\
last_chk,last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,agent_duration,check_desc,agent_desc,check_rise,check_fall,check_health,\
agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,
b,s5,1,0,2,0,,3,4,5,,6,,7,8,9,10,UP,33,1,0,0,1,3,0,,1,3,15,,0,,2,0,,0,L4OK,,0,0,0,0,0,11,0,,,,12,0,0,,,,,-1,"last, quoted",,0,0,0,13,,,,\
Layer4 check passed,,2,3,4,,,,127.0.0.1:18805,,http,,
t,BACKEND,0,0,0,0,,77,0,0,0,0,,0,0,0,0,UP,0,0,0,,0,3,0,,1,4,0,,0,,1,0,,0,,,,,,,,,,,0,0,,0,0,,,,,-1,,,0,0,0,0,,,,,,,,,,,,,,tcp,leastconn,

"""


def test_statistics() -> None:
    server, backend = parse.statistics(STAT)
    assert server == StatRow(
        type=RowType.SERVER,
        proxy="b",
        name="s5",
        sessions=2,
        queued=1,
        requests=12,
        connect_errors=7,
        response_errors=8,
        retries=9,
        redispatches=10,
        server_errors=11,
        latency=13,
        bytes_in=4,
        bytes_out=5,
        status="UP",
    )
    assert (backend.type, backend.requests, backend.server_errors) == (RowType.BACKEND, 77, 0)


@pytest.mark.parametrize("text", ["# pxname,svname\nb,s\n", STAT.splitlines()[0] + "\nb,s\n", "nonsense\nmore\n"])
def test_statistics_that_are_none(text: str) -> None:
    with pytest.raises(Unreachable):
        parse.statistics(text)


PROC = """\
#<PID>          <type>          <reloads>       <uptime>        <version>
1712            master          4 [failed: 1]   0d00h02m33s     2.6.12-1+deb12u4
# workers
5556            worker          1               0d00h00m10s     2.6.12-1+deb12u4
# old workers
4490            worker          2               0d00h00m45s     2.6.12-1+deb12u4
4400            worker          3               0d00h00m55s     2.6.12-1+deb12u4
# programs

"""


def test_processes() -> None:
    assert parse.processes(PROC) == parse.Processes(
        master=1712, reloads=4, failed=1, workers=(5556,), old=(4490, 4400), version="2.6.12-1+deb12u4"
    )


def test_processes_of_a_master_that_has_none_to_show() -> None:
    with pytest.raises(Unreachable):
        parse.processes("Unknown command\n")


def test_refusals_are_what_has_the_severity_of_an_error() -> None:
    answer = "\n[6]: New server registered.\n\n\n[3]: No such server.\n\n\n[3]: Already exists a server with the same name in backend.\n\n"
    assert parse.refusals(answer) == ("No such server.", "Already exists a server with the same name in backend.")


def test_info() -> None:
    assert parse.info("Name: HAProxy\nUptime: 0d 0h01m24s\nPid: 5\n\n") == {"Name": "HAProxy", "Uptime": "0d 0h01m24s", "Pid": "5"}
