"""Which network a file of Caffe describes: the published ones pass, others are told by their first difference."""

import pytest

import caffe_files as files
from caffe_files import FULL
from caffe_networks import CLASSES, SMALL, written
from relprop.models import ModelError
from relprop.models.files import caffe, caffe_description


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", ["caffenet", "vgg16"])
def test_the_published_descriptions_pass(name, old, tmp_path):
    side = caffe_description.INPUT_SIDES[name]
    layers = getattr(files, name)(CLASSES)
    caffe_description.check_prototxt(written(tmp_path, files.prototxt(layers, old, side)), name)
    caffe_description.check(caffe.read_caffemodel(written(tmp_path, files.caffemodel(layers, SMALL, old))), name, "it")


TRAINING = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        transform_param { mirror: true crop_size: 227 mean_file: "mean.binaryproto" } data_param { batch_size: 256 } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST } transform_param { crop_size: 227 } }
%s
layer { name: "accuracy" type: "Accuracy" bottom: "fc8" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SigmoidCrossEntropyLoss" bottom: "fc8" bottom: "label" top: "loss" }
"""


def test_a_description_for_training_passes(tmp_path):
    layers = files.prototxt(files.caffenet(CLASSES)[:-1]).split("input_dim: 227\n")[-1]
    caffe_description.check_prototxt(written(tmp_path, TRAINING % layers), "caffenet")


def alexnet():
    """Normalisation before pooling."""
    layers = files.caffenet()
    for n in (2, 6):
        layers[n], layers[n + 1] = layers[n + 1], layers[n]
    return layers


def changed(name, **settings):
    return [(n, kind, old | settings if n == name else old) for n, kind, old in files.caffenet()]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (alexnet(), r"layer 'norm1' \(LRN\) stands where layer 'pool1' \(Pooling\) belongs"),
        (changed("conv1", stride=2), r"layer 'conv1' \(Convolution\) has stride 2x2 where conv1 has 4x4"),
        (changed("conv1", kernel_size=7), "kernel_size 7x7 where conv1 has 11x11"),
        (changed("conv2", group=1), "layer 'conv2' .* has group 1 where conv2 has 2"),
        (changed("conv2", pad=0), "has pad 0x0 where conv2 has 2x2"),
        (changed("conv5", num_output=384), "has num_output 384 where conv5 has 256"),
        (changed("fc7", num_output=1024), "has num_output 1024 where fc7 has 4096"),
        (changed("pool2", pool="AVE"), "layer 'pool2' .* has pool AVE where pool2 has MAX"),
        (changed("pool5", kernel_size=2), "has kernel_size 2x2 where pool5 has 3x3"),
        (changed("pool5", stride=3), "has stride 3x3 where pool5 has 2x2"),
        (changed("norm2", alpha=2e-4), r"layer 'norm2' \(LRN\) has alpha 0.000(2|1999)\d* where norm2 has 0.0001"),
        (changed("norm2", alpha=1.001e-4), r"has alpha 0.0001\d* where norm2 has 0.0001"),
        (changed("norm2", beta=0.5), "has beta 0.5 where"),
        (changed("norm1", k=2.0), "has k 2.0 where norm1 has 1.0"),
        (changed("norm1", local_size=3), "has local_size 3 where norm1 has 5"),
        (files.caffenet()[:-2], r"it ends before layer 'fc8' \(InnerProduct\)"),
        ([*files.caffenet()[:-1], ("fc9", FULL, {})], "layer 'fc9' .* comes after the last layer, fc8"),
        ([x for x in files.caffenet() if x[0] != "relu3"], "layer 'conv4' .* stands where layer 'relu3' .* belongs"),
        (files.vgg16(), "layer 'conv1_1' .* has num_output 64 where conv1 has 96"),
    ],
)
def test_another_network_is_told_by_its_first_difference(layers, said, tmp_path):
    with pytest.raises(ModelError, match=f"not caffenet: .*{said}"):
        caffe_description.check_prototxt(written(tmp_path, files.prototxt(layers)), "caffenet")
    net = caffe.read_caffemodel(written(tmp_path, files.caffemodel(layers, {layers[0][0]: SMALL["conv1"]})))
    with pytest.raises(ModelError, match=f"it: not caffenet: .*{said}"):
        caffe_description.check(net, "caffenet", "it")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('bottom: "pool1"', 'bottom: "conv1"', r"layer 'norm1' \(LRN\) reads conv1, not pool1"),
        ('bottom: "conv3" top: "conv4"', 'bottom: "norm2" top: "conv4"', "layer 'conv4' .* reads norm2, not relu3"),
        ("input_dim: 227", "input_dim: 256", "its input is 256x256 pixels, not 227x227"),
        ("stride: 2", "stride: 2 round_mode: FLOOR", "has round_mode FLOOR where pool1 has CEIL"),
        ("stride: 2", "stride: 2 global_pooling: true", "has global_pooling True where pool1 has False"),
        ("num_output: 96", "num_output: 96 dilation: 2", "has dilation 2x2 where conv1 has 1x1"),
        ("num_output: 96", "num_output: 96 bias_term: false", "has bias_term False where conv1 has True"),
        ("beta: 0.75", "norm_region: WITHIN_CHANNEL", "has norm_region WITHIN_CHANNEL where norm1"),
        ("num_output: 1000", "num_output: 1000 transpose: true", "has transpose True where fc8 has False"),
        ('type: "ReLU"', 'type: "ReLU" relu_param { negative_slope: 0.1 }', "has negative_slope 0.1.* where relu1"),
    ],
)
def test_a_description_that_differs_in_a_detail(old, new, said, tmp_path):
    text = files.prototxt(files.caffenet())
    assert old in text
    with pytest.raises(ModelError, match=f"not caffenet: .*{said}"):
        caffe_description.check_prototxt(written(tmp_path, text.replace(old, new)), "caffenet")


def test_dropout_out_of_place_is_passed_through(tmp_path):
    """A dropout that writes a blob of its own, and one more of them."""
    text = files.prototxt(files.caffenet())
    extra = 'layer { name: "d" type: "Dropout" bottom: "fc7" top: "d" }'
    text = text.replace('layer {\n  name: "fc8"', f'{extra}\nlayer {{\n  name: "fc8"')
    text = text.replace('bottom: "fc7" top: "fc8"', 'bottom: "d" top: "fc8"')
    assert 'bottom: "d" top: "fc8"' in text
    caffe_description.check_prototxt(written(tmp_path, text), "caffenet")


def test_what_describes_no_network(tmp_path):
    with pytest.raises(ModelError, match=r"deploy\.prototxt, not its solver's"):
        caffe_description.check_prototxt(written(tmp_path, 'net: "train.prototxt" base_lr: 0.01'), "caffenet")
    with pytest.raises(ModelError, match="none of its layers has a bottom"):
        caffe_description.check_prototxt(written(tmp_path, 'layer { name: "a" type: "Data" top: "a" }'), "caffenet")
    with pytest.raises(ModelError, match=r"not a .prototxt that describes a network \(2:"):
        caffe_description.check_prototxt(written(tmp_path, "layer {\n }}"), "caffenet")
    with pytest.raises(ModelError, match="no network 'vgg19' is read from Caffe's files; did you mean vgg16"):
        caffe_description.check_prototxt(tmp_path / "none", "vgg19")
