"""Three broker nodes: one dies after the other, two at once, one is cut off from the others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.eventually import eventually
from tests.support.rabbitmq_cluster import RabbitCluster, rabbitmq_cluster
from tests.support.servers import PostgresServer, fresh_database
from tests.support.tcp_proxy import TcpProxy
from tests.support.traffic import Town, running_town

SEED = 20261126
VHOST = "hub"


@pytest.fixture(scope="module")
def cluster() -> Iterator[RabbitCluster]:
    with rabbitmq_cluster() as found:
        found.nodes[0].add_vhost(VHOST)
        yield found


@pytest.fixture(scope="module")
def town(
    cluster: RabbitCluster,
    postgres_server: PostgresServer,
    database_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Town]:
    """The hub knows all nodes; the parties know one address, behind which they are."""
    with (
        fresh_database(postgres_server, template=database_template) as database_url,
        TcpProxy(*(node.host_and_port for node in cluster.nodes)) as front,
        running_town(
            database_url,
            cluster.url_through(front.address, VHOST),
            tmp_path_factory.mktemp("town"),
            300,
            seed=SEED,
            hub_broker_url=cluster.url(VHOST),
        ) as found,
    ):
        print(f"seed {SEED}")
        yield found


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_two_of_three_nodes_die_and_the_hub_takes_work_all_the_same(town: Town, cluster: RabbitCluster) -> None:
    with town.both(40) as (amqp, http):
        amqp.wait_for(answered=10)
        cluster.nodes[0].kill()
        # The majority carries on.
        amqp.wait_for(answered=10, within_s=60)
        cluster.nodes[1].kill()
        http.wait_for(accepted=5)
        eventually(lambda: town.count("outbox") > 0, within_s=90)
        cluster.mend()

        town.assert_all_is_well(amqp, http)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_nodes_die_in_turn(town: Town, cluster: RabbitCluster) -> None:
    with town.both(60) as (amqp, http):
        for node in cluster.nodes * 2:
            node.kill()
            amqp.wait_for(answered=100, within_s=90)
            cluster.mend()

        town.assert_all_is_well(amqp, http)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_node_is_cut_off_from_the_others(town: Town, cluster: RabbitCluster, lost: int) -> None:
    node = cluster.nodes[lost]
    others = [one for one in cluster.nodes if one is not node]
    with town.both(60) as (amqp, http):
        amqp.wait_for(answered=100)
        node.cut_off(others)
        try:
            # The one that is alone pauses; who was connected to it goes to the others.
            amqp.wait_for(answered=600, within_s=120)
        finally:
            node.rejoin(others)
            cluster.mend()
        amqp.wait_for(answered=100, within_s=90)

        town.assert_all_is_well(amqp, http)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_node_stands_still_for_a_minute(town: Town, cluster: RabbitCluster) -> None:
    with town.both(60) as (amqp, http):
        amqp.wait_for(answered=100)
        cluster.nodes[0].pause()
        try:
            amqp.wait_for(answered=1_500, within_s=180)
        finally:
            cluster.nodes[0].resume()
        amqp.wait_for(answered=100, within_s=90)

        town.assert_all_is_well(amqp, http)
