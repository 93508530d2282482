"""CAM and Grad-CAM against their formulas, on feature maps that hooks and arithmetic find."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relprop as rp
from conftest import randomised
from relprop.catalogue.cam import coarse_cam
from relprop.models.families import embedded
from small_networks import NETWORKS, D, pictures, plain, small


class Averaging(nn.Module):
    """Ends in global average pooling, spelled as asked for: (B, 3, 8, 8) to (B, 5)."""

    def __init__(self, average):
        super().__init__()
        self.conv, self.fc, self.average = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Linear(6, 5), average

    def maps(self, x):
        return F.relu(self.conv(x))

    def forward(self, x):
        return self.fc(F.dropout(self.average(self.maps(x)), training=False))


AVERAGES = {
    "adaptive": lambda f: F.adaptive_avg_pool2d(f, 1).flatten(1),
    "kernel": lambda f: F.avg_pool2d(f, 4)[:, :, 0, 0],
    "mean": lambda f: f.mean((2, 3)),
    "means": lambda f: f.mean(3).mean(2),
    "flat": lambda f: f.flatten(2).mean(2),
    "sum": lambda f: f.sum((2, 3)) / 16,
    "twice": lambda f: F.avg_pool2d(f, 2).mean((2, 3)),
}


@pytest.mark.parametrize("name", AVERAGES)
def test_cam_is_the_weighted_sum_of_the_last_maps(name):
    model, x, target = randomised(Averaging(AVERAGES[name]), D), pictures(), torch.tensor([1, 4])
    with torch.no_grad():
        weighted_maps = (model.maps(x) * model.fc.weight[target][:, :, None, None]).sum(1, keepdim=True) / 16
        lacking = model(x).gather(1, target[:, None])[:, 0] - model.fc.bias[target]
    coarse = coarse_cam(model, x, target)
    torch.testing.assert_close(coarse, weighted_maps, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(coarse.sum((1, 2, 3)), lacking, rtol=0, atol=1e-10)
    R = rp.attribute(model, x, target, "cam")
    fine = F.interpolate(weighted_maps, (8, 8), mode="bilinear") / 4
    torch.testing.assert_close(R, fine.expand(-1, 3, -1, -1) / 3, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(R.sum((1, 2, 3)), lacking, rtol=0, atol=1e-10)


def test_cam_of_a_resnet_is_read_off_its_last_block():
    model, x, target = NETWORKS["resnet18"]()[0].double(), torch.randn(2, 3, 96, 96, dtype=D), torch.tensor([1, 4])
    seen = []
    handle = model.layer4.register_forward_hook(lambda *a: seen.append(a[2].detach()))
    logits = model(x).gather(1, target[:, None])[:, 0]
    handle.remove()
    wanted = (seen[0] * model.fc.weight[target][:, :, None, None]).sum(1, keepdim=True) / 9
    torch.testing.assert_close(coarse_cam(model, x, target), wanted, rtol=1e-12, atol=1e-12)
    R = rp.attribute(model, x, target, "cam")
    torch.testing.assert_close(R.sum((1, 2, 3)), logits - model.fc.bias[target], rtol=1e-10, atol=1e-10)


def test_cam_of_squeezenet_is_the_class_s_own_map():
    model, side = NETWORKS["squeezenet"]()
    model, x = model.double(), torch.randn(2, 3, side, side, dtype=D)
    target = model(x).argmax(1)
    scores = model.classifier[:3](model.features(x))
    wanted = scores[[0, 1], target][:, None] / scores.shape[2:].numel()
    assert wanted.max() > 0
    torch.testing.assert_close(coarse_cam(model, x, target), wanted, rtol=1e-12, atol=1e-15)


def test_cam_is_loud_where_a_network_ends_otherwise():
    x = pictures()
    squared = randomised(Averaging(lambda f: f.mean((2, 3)) * f.mean((2, 3))), D)
    with pytest.raises(rp.InputError, match=r"global average pooling with nothing but .* ends in mul -> dropout"):
        rp.attribute(squared, x, 1, "cam")
    with pytest.raises(rp.InputError, match=r"relu in '4' -> flatten in '5' -> dropout in '6' -> linear in '7'; use"):
        rp.attribute(plain(), x, 1, "cam")
    coarse_pool = small(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)
    )  # as in VGG, but for fewer linear layers
    with pytest.raises(rp.InputError, match=r"relu in '1' -> avg_pool in '2' -> flatten .* use 'grad-cam', or 'cmp-al"):
        rp.attribute(coarse_pool, x, 1, "cam")


def test_the_remedy_that_cam_names_exists_and_is_like_it():
    """Where every class has a map of its own, as in SqueezeNet: the stack only spreads what CAM's positive part is."""
    model = small(
        nn.Conv2d(3, 6, 2, stride=2), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    nn.init.zeros_(model[2].bias)  # a bias takes its share in LRP
    nn.init.normal_(model[2].weight, 0.3)
    x, target = pictures(), torch.tensor([1, 2])
    cam = coarse_cam(model, x, target)
    assert cam.sum() > 0
    assert (cam >= 0).all()
    R = rp.attribute(model, x, target, "cmp-alpha1-flat:layers=stack,eps=1e-12").sum(1, keepdim=True)
    torch.testing.assert_close(F.avg_pool2d(R, 2) * 4, cam, rtol=1e-5, atol=1e-12)
    torch.testing.assert_close(R, F.interpolate(cam, scale_factor=2) / 4, rtol=1e-5, atol=1e-12)


def test_flat_below_a_global_average_is_cam_and_the_stack_above_spreads_evenly():
    """The stack has the global average in it, as a pool: under flat it says no more where a network looked."""
    model = small(nn.Conv2d(3, 6, 2, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
    x, target = pictures(), torch.tensor([1, 2])
    composite = rp.Composite([(rp.on.conv, rp.rules.Flat()), (rp.on.pool | rp.on.linear, rp.rules.Z())])
    R = rp.attribute(model, x, target, composite)
    wanted = F.interpolate(coarse_cam(model, x, target), scale_factor=2) / 12
    torch.testing.assert_close(R, wanted.expand_as(R), rtol=1e-10, atol=1e-14)
    even = rp.attribute(model, x, target, "cmp-alpha1-flat:layers=stack")
    torch.testing.assert_close(even, even[:, :1, :1, :1].expand_as(even), rtol=1e-10, atol=1e-14)


def by_hand(maps, logits, target):
    """Grad-CAM from feature maps of the graph that led to the logits."""
    (slope,) = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), maps)
    return F.relu((slope.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True)).detach()


def hooked(model, module, x, target):
    """Grad-CAM of a module's output, by a hook on a model that may be changed."""
    seen = []
    handle = module.register_forward_hook(lambda *a: seen.append(a[2]) or a[2].clone())  # in-place ops may follow
    logits = model(x)
    handle.remove()
    return by_hand(seen[0], logits, target)


def assert_is(R, coarse):
    fine = F.interpolate(coarse, R.shape[2:], mode="bilinear")
    assert fine.max() > 0
    torch.testing.assert_close(R, (fine / R.shape[1]).expand_as(R), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "layer", "default"),
    [
        ("vgg11", "features.18", True),
        ("vgg11", "features.13", False),
        ("vgg11", "features", False),
        ("digits-deep", "features.28", True),
        ("squeezenet", "features.12", True),  # two convolutions, concatenated
        ("squeezenet", "features.12.expand3x3", False),
        ("resnet18", "layer4", False),
        ("resnet18", "layer3.1.conv2", False),
    ],
)
def test_grad_cam_is_its_formula(name, layer, default):
    model, side = NETWORKS[name]()
    model, x, target = model.double(), torch.randn(2, 3, side, side, dtype=D), torch.tensor([1, 4])
    wanted = hooked(model, model.get_submodule(layer), x, target)
    assert_is(rp.attribute(model, x, target, f"grad-cam:layer={layer}"), wanted)
    if default:
        assert_is(rp.attribute(model, x, target, "grad-cam"), wanted)


def test_grad_cam_of_a_residual_network_takes_the_sum_that_its_branches_end_in():
    model, side = NETWORKS["resnet18"]()
    model, x, target = model.double(), torch.randn(2, 3, side, side, dtype=D), torch.tensor([1, 4])
    maps = model.layer4[0](model.layer3(model.layer2(model.layer1(model.maxpool(F.relu(model.bn1(model.conv1(x))))))))
    block = model.layer4[1]
    added = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(maps))))) + maps
    wanted = by_hand(added, model.fc(F.relu(added).mean((2, 3))), target)
    assert_is(rp.attribute(model, x, target, "grad-cam"), wanted)


def test_grad_cam_of_functional_code_needs_no_modules():
    first, second, fc = (torch.randn(s, dtype=D) * 0.3 for s in ((6, 3, 3, 3), (6, 6, 3, 3), (5, 96)))

    def maps(x):
        x = F.relu(F.conv2d(x, first, padding=1))
        return torch.cat([F.conv2d(x, second, padding=1), x[:, :2].sigmoid() * x[:, 2:4]], 1)[:, :6]

    def function(x):
        return F.linear(F.max_pool2d(F.relu_(maps(x)), 2).flatten(1), fc)

    x, target = pictures(), torch.tensor([1, 4])
    with torch.enable_grad():
        found = maps(x.requires_grad_())
        logits = F.linear(F.max_pool2d(F.relu(found), 2).flatten(1), fc)
    R = rp.attribute(function, x.detach(), target, "grad-cam")
    cat = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), found)[0]
    assert cat.abs().max() > 0
    assert R.max() > 0  # its feature maps are the concatenation: all that is cut off weighs nothing
    assert_is(R, by_hand(found, F.linear(F.max_pool2d(F.relu(found), 2).flatten(1), fc), target))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("featuers.28", "no layer 'featuers.28' on the way to the logits; did you mean features.28"),
        ("classifier.0", r"layer 'classifier.0' gives \(1, 128\), which are no feature maps .*'features.30', say"),
    ],
)
def test_a_layer_that_grad_cam_cannot_take(layer, message):
    with pytest.raises(rp.InputError, match=message):
        rp.attribute(embedded.trained("digits-deep"), torch.randn(1, 3, 64, 64), 1, f"grad-cam:layer={layer}")


def test_grad_cam_without_convolutions_is_an_error():
    with pytest.raises(rp.InputError, match="has no convolution before its fully connected layers"):
        rp.attribute(small(nn.Flatten(), nn.Linear(192, 5)), pictures(), 1, "grad-cam")


@pytest.mark.parametrize("method", ["cam", "grad-cam"])
def test_one_and_three_axes_of_space(method):
    for axes, conv, pool in ((1, nn.Conv1d, nn.AdaptiveAvgPool1d), (3, nn.Conv3d, nn.AdaptiveAvgPool3d)):
        model = small(conv(3, 4, 3, stride=2, padding=1), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(4, 5))
        x = pictures(2, 3, *[8] * axes)
        R = rp.attribute(model, x, 1, method)
        assert R.shape == x.shape
        assert R.abs().max() > 0
