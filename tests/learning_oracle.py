"""The methods that need a network, and the benchmark's loop, written out plainly: float32, step by step.

Of the package it takes networks, seeds by name, and where a crop was drawn; the rest is its own.
"""

import copy
from itertools import count, islice

import numpy as np
import torch
from torch import nn

from cifar10_s.augment import CropAndFlip
from cifar10_s.nets import make
from cifar10_s.seeds import generator

# Images whose noise is made at once; views are drawn for as many.
PART = 16


class TinyNet(nn.Module):
    """One smooth layer, so that rounding turns few gradients' signs, and batch norm, so that modes show."""

    def __init__(self, channels, size, classes):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(channels, 6, 3, bias=False), nn.BatchNorm2d(6), nn.Tanh(), nn.Flatten())
        self.classifier = nn.Linear(6 * (size[0] - 2) * (size[1] - 2), classes)

    def forward(self, images):
        return self.classifier(self.features(images))


# --- what all have in common ---


def network(name, images, random):
    _, height, width, channels = images.pixels.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(random.integers(2**63)))
        return make(name, channels=channels, size=(height, width), classes=len(images.class_names))


def tensors(images):
    """Levels, and a target of probabilities for each image."""
    return torch.tensor(images.pixels).float(), torch.eye(len(images.class_names))[torch.tensor(images.labels)]


def logits(net, levels):
    return net((levels.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25)


def loss(net, levels, targets):
    """The cross-entropy of each image."""
    return -(targets * logits(net, levels).log_softmax(1)).sum(1)


def error(net, levels, targets):
    net.eval()
    with torch.no_grad():
        return float((logits(net, levels).argmax(1) != targets.argmax(1)).float().mean())


def uphill(net, levels, targets, view=lambda levels: levels):
    """Where each image's loss grows, seen through a view."""
    net.eval()
    levels = levels.clone().requires_grad_()
    return torch.autograd.grad(loss(net, view(levels), targets).sum(), levels)[0].sign()


def within(noise, levels, epsilon):
    return noise.clamp(-epsilon, epsilon).maximum(-levels).minimum(255 - levels)


def attack(net, levels, targets, noise, epsilon, step, steps):
    for _ in range(steps):
        noise = within(noise + step * uphill(net, levels + noise, targets), levels, epsilon)
    return levels + noise


def uniform(random, levels, epsilon):
    return torch.from_numpy(2 * random.random(levels.shape, np.float32) - 1) * epsilon


def view(random, levels):
    """A crop and flip for each image."""
    drawn = CropAndFlip.draw(random, levels)
    height, width, border = levels.shape[1], levels.shape[2], drawn.padding

    def see(levels):
        seen = []
        for image, top, left, flip in zip(levels, drawn.top, drawn.left, drawn.flip):
            padded = nn.functional.pad(image, (0, 0, border, border, border, border))
            cut = padded[top : top + height, left : left + width]
            seen.append(cut.flip(1) if flip else cut)
        return torch.stack(seen)

    return see


def order(seed, name, total, size):
    for epoch in count():
        shuffled = torch.from_numpy(generator(seed, name, "order", str(epoch)).permutation(total))
        yield from (shuffled[start : start + size] for start in range(0, total - size + 1, size))


class Learner:
    """A network and its optimiser."""

    def __init__(self, net, *, momentum, weight_decay, optimizer="sgd", clip=None):
        self.net, self.momentum, self.weight_decay, self.clip = net, momentum, weight_decay, clip
        self.update, self.steps = getattr(self, optimizer), 0
        self.first, self.second = ([torch.zeros_like(weight) for weight in net.parameters()] for _ in "ab")

    def learn(self, levels, targets, rate):
        """Take a step; gives what the network said before."""
        self.net.train()
        said = logits(self.net, levels)
        mean = -(targets * said.log_softmax(1)).sum() / len(levels)
        slopes = torch.autograd.grad(mean, list(self.net.parameters()))
        if self.clip is not None:
            norm = sum(float((slope**2).sum()) for slope in slopes) ** 0.5
            slopes = [slope * min(1.0, self.clip / norm) for slope in slopes]
        self.steps += 1
        with torch.no_grad():
            for parts in zip(self.net.parameters(), slopes, self.first, self.second):
                self.update(*parts, rate)
        return said.detach()

    def sgd(self, weight, slope, first, _, rate):
        first.copy_(self.momentum * first + slope + self.weight_decay * weight)
        weight -= rate * first

    def adamw(self, weight, slope, first, second, rate):
        first.copy_(0.9 * first + 0.1 * slope)
        second.copy_(0.999 * second + 0.001 * slope**2)
        weight *= 1 - rate * self.weight_decay
        weight -= rate * (first / (1 - 0.9**self.steps)) / ((second / (1 - 0.999**self.steps)).sqrt() + 1e-8)


# --- methods ---


class Problem:
    """What a method works on."""

    def __init__(self, method, images, seed):
        self.method, self.seed = method, seed
        self.levels, self.targets = tensors(images)
        self.net = network(method.network, images, self.random("network"))
        self.learner = Learner(
            self.net, momentum=method.momentum, weight_decay=method.weight_decay, clip=method.clip
        )  # fmt: skip
        self.order = order(seed, method.name, len(images), method.batch)

    def random(self, *names):
        return generator(self.seed, self.method.name, *map(str, names))

    def view(self, levels, *names):
        """The view of a name, where the method has views."""
        return view(self.random("augment", *names), levels) if self.method.augment else lambda levels: levels

    def learn(self, index, levels, rate):
        self.learner.learn(levels, self.targets[index], rate)


def em(method, images, seed):
    """Huang et al., ICLR 2021: train on images and noise, walk the noise down the loss, until the error is small."""
    problem = Problem(method, images, seed)
    noise = torch.zeros_like(problem.levels)
    for number in range(method.max_rounds):
        for batch, index in enumerate(islice(problem.order, method.train_batches)):
            seen = problem.levels[index] + noise[index]
            problem.learn(index, problem.view(seen, "train", number, batch)(seen), method.learning_rate)
        for start in range(0, len(noise), PART):
            part = slice(start, start + PART)
            noise[part] = easier(problem, part, noise[part], number, start)
        if error(problem.net, problem.levels + noise, problem.targets) <= method.stop_error:
            break
    return noise


def em_classwise(method, images, seed):
    """The same; a class's noise is the mean of where a batch of its images, of a share of all, would take it."""
    problem, labels = Problem(method, images, seed), torch.tensor(images.labels)
    noise = torch.zeros((len(images.class_names), *images.pixels.shape[1:]))
    subset = torch.from_numpy(problem.random("subset").permutation(len(labels))[: round(method.share * len(labels))])
    for number in range(method.max_rounds):
        for batch, index in enumerate(islice(problem.order, method.train_batches)):
            seen = problem.levels[index] + noise[labels[index]]
            problem.learn(index, problem.view(seen, "train", number, batch)(seen), method.learning_rate)
        for at, part in enumerate(subset.split(method.subset_batch)):
            moved = easier(problem, part, noise[labels[part]], number, at)
            for label in labels[part].unique():
                noise[label] = moved[labels[part] == label].mean(0).half().float()
        if error(problem.net, (problem.levels + noise[labels])[subset], problem.targets[subset]) <= method.stop_error:
            break
    return noise


def easier(problem, part, noise, number, at):
    """Walk noise down the loss."""
    method, levels, targets = problem.method, problem.levels[part], problem.targets[part]
    for step in range(method.steps):
        seen_through = problem.view(levels, "noise", number, at, step)
        up = uphill(problem.net, levels + noise, targets, seen_through)
        noise = within(noise - method.step * up, levels, method.epsilon)
    return noise


def rem(method, images, seed):
    """Fu et al., ICLR 2022: noise that makes attacked views easy, for a network that learns attacked views."""
    problem = Problem(method, images, seed)
    net, noise = problem.net, torch.zeros_like(problem.levels)

    def attacked(levels, targets, random):
        start = uniform(random, levels, method.adversary_epsilon)
        return attack(
            net, levels, targets, start, method.adversary_epsilon, method.adversary_step, method.adversary_steps
        )

    def made_anew(part, *names):
        levels, targets, random = problem.levels[part], problem.targets[part], problem.random("noise", *names)
        made = uniform(problem.random("start", *names), levels, method.epsilon) if method.random_start else noise[part]
        for _ in range(method.steps):
            total = torch.zeros_like(levels)
            for _ in range(method.samples):
                inputs = (levels + made).requires_grad_()
                see = view(random, inputs)
                shift = attacked(see(inputs).detach(), targets, random) - see(inputs).detach()
                net.eval()
                total += torch.autograd.grad(loss(net, see(inputs) + shift, targets).sum(), inputs)[0]
            made = within(made.detach() - method.step * total.sign(), levels, method.epsilon)
        return made.half().float()

    for number in range(method.train_steps):
        index = next(problem.order)
        noise[index] = made_anew(index, "train", number)
        noised = problem.levels[index] + noise[index]
        seen = view(problem.random("augment", "train", number), noised)(noised)
        hard = attacked(seen, problem.targets[index], problem.random("attack", "train", number))
        problem.learn(index, hard, method.learning_rate / 10 ** (number // method.decay_every))
    for start in range(0, len(noise), PART):
        noise[start : start + PART] = made_anew(slice(start, start + PART), "last", start)
    return noise


def surrogate(method, images, seed):
    """TAP, SEP, HYPO: adversarial to, or easy for, networks at moments of their training on clean images."""
    problem = Problem(method, images, seed)
    total, moments = len(images), []
    for epoch in range(method.epochs):
        passed = len([share for share in method.milestones if epoch >= share * method.epochs])
        for number in range(total // method.batch):
            index = next(problem.order)
            seen = view(problem.random("augment", epoch, number), problem.levels[index])(problem.levels[index])
            problem.learn(index, seen, method.learning_rate / 10**passed)
        if (epoch + 1) % (method.epochs // method.snapshots) == 0:
            moments.append(copy.deepcopy(problem.net).eval())
    # Class y becomes class y + offset.
    targets, noise = problem.targets.roll(method.offset, 1), torch.zeros_like(problem.levels)
    for start in range(0, total, PART):
        part, random = slice(start, start + PART), problem.random("view", start)
        for _ in range(method.steps):
            inputs = (problem.levels[part] + noise[part]).requires_grad_()
            see = view(random, inputs) if method.augment else lambda levels: levels
            mean = sum(loss(net, see(inputs), targets[part]).sum() for net in moments) / len(moments)
            up = torch.autograd.grad(mean, inputs)[0].sign()
            moved = noise[part] + method.step * (up if method.away else -up)
            noise[part] = within(moved, problem.levels[part], method.epsilon)
    return noise


NOISE = {
    "em": em, "em-classwise": em_classwise, "rem": rem,
    "tap": surrogate, "tap-untargeted": surrogate, "sep": surrogate, "hypo": surrogate,
}  # fmt: skip


# --- benchmark ---


def rate_at(protocol, done):
    """The learning rate after a share of all steps."""
    if protocol.schedule == "multistep":
        return protocol.learning_rate / 10 ** len([share for share in protocol.milestones if done >= share])
    if done < protocol.warmup:
        return protocol.learning_rate * done / protocol.warmup
    return protocol.learning_rate * (1 + np.cos(np.pi * (done - protocol.warmup) / (1 - protocol.warmup))) / 2


def train(run):
    """The benchmark's training: what it measures after each epoch."""
    protocol, strategy, images = run.protocol, run.strategy, run.train

    def random(*names):
        return generator(run.seed, "benchmark", *names)

    if strategy.prepare is not None:
        images = strategy.prepare(images, run.clean, random("prepare"))
    levels, targets = tensors(images)
    net = network(run.network, images, random("network"))
    learner = Learner(
        net, momentum=protocol.momentum, weight_decay=protocol.weight_decay, optimizer=protocol.optimizer
    )  # fmt: skip
    first = nn.utils.parameters_to_vector(net.parameters()).detach().clone()
    batches, steps = order(run.seed, "benchmark", len(levels), protocol.batch), len(levels) // protocol.batch
    epochs = []
    for epoch in range(protocol.epochs):
        right = 0
        for number in range(epoch * steps, (epoch + 1) * steps):
            index = next(batches)
            seen, wanted = as_seen(net, strategy, levels[index], targets[index], random("batch", str(number)))
            said = learner.learn(seen, wanted, rate_at(protocol, number / (protocol.epochs * steps)))
            right += int((said.argmax(1) == targets[index].argmax(1)).sum())
        moved = nn.utils.parameters_to_vector(net.parameters()).detach() - first
        epochs.append(
            {
                "train_accuracy": 100 * right / (steps * protocol.batch),
                "test_accuracy": 100 - 100 * error(net, *tensors(run.test)),
                "parameter_distance": float((moved**2).sum()) ** 0.5,
            }
        )
    if strategy.adversary is not None:
        test, wanted = tensors(run.test)
        epochs[-1]["robust_accuracy"] = 100 - 100 * error(
            net, attack(net, test, wanted, torch.zeros_like(test), epsilon=8, step=2, steps=20), wanted
        )
    evaluations = run.evaluations()
    if evaluations:
        epochs[-1]["evaluations"] = {
            name: 100 - 100 * error(net, *tensors(other)) for name, other in evaluations.items()
        }
    return epochs


def as_seen(net, strategy, levels, targets, random):
    """A batch as the network is to see it: cropped, flipped, the hardest of several draws, attacked."""
    levels = view(random, levels)(levels)
    if strategy.augment is not None:
        draws = [strategy.augment(levels, targets, random) for _ in range(strategy.draws)]
        net.eval()
        with torch.no_grad():
            hardest = torch.stack([loss(net, *draw) for draw in draws]).argmax(0)
        levels, targets = (torch.stack([draws[d][part][i] for i, d in enumerate(hardest)]) for part in (0, 1))
    adversary = strategy.adversary
    if adversary is not None:
        start = uniform(random, levels, adversary.epsilon)
        levels = attack(net, levels, targets, start, adversary.epsilon, adversary.step, adversary.steps)
    return levels, targets
