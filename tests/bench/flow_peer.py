"""The planner's question put to OR-tools: the table nearest to another one as a min-cost flow, exactly (slot -> (slot, rack) -> member).

OR-tools is no dependency of anything here: `make bench PEERS=1` puts it beside the environment, and only then is it asked.
"""

from __future__ import annotations

import importlib
import time
from typing import Any

from shuren.domain.shards.assignment import Assignment
from shuren.domain.shards.members import Wanted
from shuren.domain.shards.shares import shares


def available() -> bool:
    """Whether OR-tools is there."""
    try:
        importlib.import_module("ortools.graph.python.min_cost_flow")
    except ImportError:
        return False
    return True


def exact(wanted: Wanted, before: Assignment) -> tuple[float, int]:
    """Milliseconds of CPU to build and solve, and the moves of the best table. Every member holds its share rounded down or up."""
    numpy: Any = importlib.import_module("numpy")
    flow: Any = importlib.import_module("ortools.graph.python.min_cost_flow").SimpleMinCostFlow
    began = time.process_time()
    share = shares(wanted, reach=max(before.holders))
    members = list(share.members)
    racks = share.zones
    slots, replicas = wanted.slots, wanted.replicas
    zone_of = numpy.array([share.zone[member] for member in members])
    index_of = {member: i for i, member in enumerate(members)}
    # nodes: slots, then (slot, rack), then members, then a sink for what is above each member's share
    first_pair, first_member = slots, slots + slots * racks
    sink = first_member + len(members)
    slot = numpy.repeat(numpy.arange(slots), racks)
    pair = first_pair + numpy.arange(slots * racks)
    tails, heads, caps, costs = [slot], [pair], [numpy.ones(slots * racks, int)], [numpy.zeros(slots * racks, int)]
    # who holds a slot stays for nothing; anybody else of the rack costs 1, by way of one node for each rack
    rack_node = sink + 1
    held_pair, held_member = [], []
    for number, row in enumerate(before.rows()):
        for member in row:
            if member in index_of:
                held_pair.append(first_pair + number * racks + share.zone[member])
                held_member.append(first_member + index_of[member])
    tails += [numpy.array(held_pair), pair, rack_node + zone_of]
    heads += [numpy.array(held_member), rack_node + numpy.tile(numpy.arange(racks), slots), first_member + numpy.arange(len(members))]
    many = slots * replicas
    caps += [numpy.ones(len(held_pair), int), numpy.ones(slots * racks, int), numpy.full(len(members), many)]
    costs += [numpy.zeros(len(held_pair), int), numpy.ones(slots * racks, int), numpy.zeros(len(members), int)]
    low = numpy.array([share.all.low[member] for member in members])
    spare = numpy.array([share.all.high[member] - share.all.low[member] for member in members])
    tails.append(first_member + numpy.arange(len(members)))
    heads.append(numpy.full(len(members), sink))
    caps.append(spare)
    costs.append(numpy.zeros(len(members), int))
    solver = flow()
    solver.add_arcs_with_capacity_and_unit_cost(*(numpy.concatenate(parts) for parts in (tails, heads, caps, costs)))
    supplies = numpy.zeros(rack_node + racks, int)
    supplies[:slots] = replicas
    supplies[first_member : first_member + len(members)] = -low
    supplies[sink] = -(many - int(low.sum()))
    solver.set_nodes_supplies(numpy.arange(rack_node + racks), supplies)
    state = solver.solve()
    if state != solver.OPTIMAL:
        raise RuntimeError(f"no optimum: {state}")
    return (time.process_time() - began) * 1e3, int(solver.optimal_cost())
