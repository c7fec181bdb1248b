"""Several processes take the step that one would have taken on all their clips."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from phys4d.training.ranks import agreed, any_of, average_gradients, from_all, rank_and_size, wait_for_all

SIZE = 2
DATA = torch.arange(8.0).reshape(4, 2)


def model():
    layer, alone = nn.Linear(2, 1), nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -2.0]]))
        layer.bias.zero_()
        alone.weight.fill_(3.0)
    return nn.ModuleDict({"used": layer, "only_by_the_first": alone})


def loss_of(net, rows, rank):
    loss = net["used"](rows).square().mean()
    return loss + net["only_by_the_first"].weight.sum() if rank == 0 else loss


def work(rank, port, folder):
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(SIZE),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    assert rank_and_size() == (rank, SIZE)
    net = model()
    rows = DATA[rank * 2 : rank * 2 + 2]
    loss = loss_of(net, rows, rank)
    loss.backward()
    told = average_gradients(list(net.parameters()), {"loss": float(loss.detach()), "rank": float(rank)})
    wait_for_all()
    said = agreed(rank == 0), agreed(rank == 1), any_of(rank == 1), any_of(False), from_all(f"I am {rank}")
    torch.save(({n: p.grad for n, p in net.named_parameters()}, told, said), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(work, (port, str(folder)), nprocs=SIZE)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(SIZE)]


def test_gradients_and_loss_are_those_of_all_clips_together(ranks):
    net = model()
    losses = [loss_of(net, DATA[r * 2 : r * 2 + 2], r) for r in range(SIZE)]
    mean = sum(losses) / SIZE
    mean.backward()
    for gradients, told, _ in ranks:
        assert told == {"loss": pytest.approx(mean.item(), rel=1e-6), "rank": 0.5}
        for name, parameter in net.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, msg=name)


def test_all_do_what_the_first_says_and_hear_each_other(ranks):
    assert [said for *_, said in ranks] == [(True, False, True, False, ["I am 0", "I am 1"])] * SIZE


def test_a_process_by_itself_changes_nothing(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    net = model()
    loss_of(net, DATA, 0).backward()
    before = [p.grad.clone() for p in net.parameters()]
    assert rank_and_size() == (0, 1)
    assert average_gradients(list(net.parameters()), {"loss": 3.0}) == {"loss": 3.0}
    assert all(torch.equal(p.grad, b) for p, b in zip(net.parameters(), before))
    assert agreed(True)
    assert not agreed(False)
