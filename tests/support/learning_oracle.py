"""The methods that train a model, and the benchmark's loop, written plainly: float32, step by step.

From the package it takes only the networks, the random generators, the drawn crops and the views.
"""

import copy
from dataclasses import replace
from functools import partial
from itertools import count, islice

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import nn

from cifar10_s.common.rng import generator
from cifar10_s.nn.contrastive_view import ContrastiveView
from cifar10_s.nn.crop_flip import CropAndFlip
from cifar10_s.nn.networks.registry import make_network

# Images per step of making noise; views are drawn for the same images together.
PART = 16


class TinyNet(nn.Module):
    """One smooth layer, so that rounding flips few gradient signs, and batch norm, so that modes matter."""

    def __init__(self, channels, size, classes):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(channels, 6, 3, bias=False), nn.BatchNorm2d(6), nn.Tanh(), nn.Flatten())
        self.classifier = nn.Linear(6 * (size[0] - 2) * (size[1] - 2), classes)

    def forward(self, images):
        return self.classifier(self.features(images))


# --- shared ---


def network(name, images, random):
    _, height, width, channels = images.pixels.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(random.integers(2**63)))
        return make_network(name, channels=channels, size=(height, width), classes=len(images.class_names))


def tensors(images):
    """Return levels, and target probabilities per image."""
    return torch.tensor(images.pixels).float(), torch.eye(len(images.class_names))[torch.tensor(images.labels)]


def scaled(levels):
    return (levels.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25


def logits(net, levels):
    return net(scaled(levels))


def loss(net, levels, targets):
    """Return the cross-entropy per image."""
    return -(targets * logits(net, levels).log_softmax(1)).sum(1)


def error(net, levels, targets):
    net.eval()
    with torch.no_grad():
        return float((logits(net, levels).argmax(1) != targets.argmax(1)).float().mean())


def uphill(net, levels, targets, view=lambda levels: levels):
    """Return the sign of the gradient of the loss per image, seen through a view."""
    net.eval()
    levels = levels.clone().requires_grad_()
    return torch.autograd.grad(loss(net, view(levels), targets).sum(), levels)[0].sign()


def within(noise, levels, epsilon):
    return noise.clamp(-epsilon, epsilon).maximum(-levels).minimum(255 - levels)


def attack(net, levels, targets, noise, epsilon, step, steps):
    noise = within(noise, levels, epsilon)
    for _ in range(steps):
        noise = within(noise + step * uphill(net, levels + noise, targets), levels, epsilon)
    return levels + noise


def uniform(random, levels, epsilon):
    return torch.from_numpy(2 * random.random(levels.shape, np.float32) - 1) * epsilon


def view(random, levels):
    """Draw a crop and flip per image; return the function that applies them."""
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
        """Take a step; return the logits before it."""
        self.net.train()
        predicted = logits(self.net, levels)
        mean = -(targets * predicted.log_softmax(1)).sum() / len(levels)
        self.follow(self.clipped(torch.autograd.grad(mean, list(self.net.parameters()))), rate)
        return predicted.detach()

    def clipped(self, slopes):
        if self.clip is None:
            return slopes
        norm = sum(float((slope**2).sum()) for slope in slopes) ** 0.5
        return [slope * min(1.0, self.clip / norm) for slope in slopes]

    def follow(self, slopes, rate):
        self.steps += 1
        with torch.no_grad():
            for parts in zip(self.net.parameters(), slopes, self.first, self.second):
                self.update(*parts, rate)

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
    """A method's images, network and optimiser."""

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
        """Return the view of a name; the identity if the method has no views."""
        return view(self.random("augment", *names), levels) if self.method.augment else lambda levels: levels

    def learn(self, index, levels, rate):
        self.learner.learn(levels, self.targets[index], rate)


def em(method, images, seed):
    """Huang et al., ICLR 2021: train on noisy images, move the noise down the loss, until the error is small."""
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
    """The same per class: the noise becomes the mean over the class's images in a batch, from a share of all images."""
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


def pue(method, images, seed):
    """Wang et al., NDSS 2025: class-wise EM whose network, once it knows enough images, has noise on its weights."""
    problem, labels = Problem(method, images, seed), torch.tensor(images.labels)
    noise = torch.zeros((len(images.class_names), *images.pixels.shape[1:]))
    subset = torch.from_numpy(problem.random("subset").permutation(len(labels))[: round(method.share * len(labels))])
    least, wrong = 1.0, 1.0
    for number in range(method.max_rounds):
        deviations = method.deviations if least < method.start_error else [0.0]
        for batch, index in enumerate(islice(problem.order, method.train_batches)):
            seen = problem.levels[index] + noise[labels[index]]
            seen = problem.view(seen, "train", number, batch)(seen)
            random = torch_generator(problem.random("weights", "train", number, batch))
            for deviation in deviations:
                learn_nearby(problem, seen, problem.targets[index], deviation, random, len(deviations))
        for at, part in enumerate(subset.split(method.subset_batch)):
            levels, targets, random = problem.levels[part], problem.targets[part], ("noise", number, at)
            moved = within(noise[labels[part]], levels, method.epsilon)
            drawn = torch_generator(problem.random("weights", *random))
            for step, deviation in enumerate(deviation for _ in range(method.steps) for deviation in deviations):
                see = problem.view(levels, *random, step)
                slopes = [
                    uphill_nearby(problem.net, see, levels + moved, targets, deviation, drawn)
                    for _ in range(method.noise_draws if deviation else 1)
                ]
                mean = torch.stack(slopes).mean(0)
                moved = within(moved - method.step * mean.sign(), levels, method.epsilon)
            for label in labels[part].unique():
                noise[label] = moved[labels[part] == label].mean(0).half().float()
        wrong = error(problem.net, (problem.levels + noise[labels])[subset], problem.targets[subset])
        least = min(least, wrong)
        if wrong <= method.stop_error:
            break
    return noise


def torch_generator(random):
    return torch.Generator().manual_seed(int(random.integers(2**63)))


def nearby(net, deviation, random):
    """Return weights near those of a network, by name, as a function of its own."""
    return {
        name: weight + deviation * torch.randn(weight.shape, generator=random) if deviation else weight
        for name, weight in net.named_parameters()
    }


def learn_nearby(problem, levels, targets, deviation, random, parts):
    """Take a step along the gradients at weights nearby, of which there are as many as the recipe says."""
    net, draws = problem.net, problem.method.train_draws if deviation else 1
    net.train()
    total = [torch.zeros_like(weight) for weight in net.parameters()]
    for _ in range(draws):
        predicted = torch.func.functional_call(net, nearby(net, deviation, random), (scaled(levels),))
        mean = -(targets * predicted.log_softmax(1)).sum() / len(levels)
        slopes = torch.autograd.grad(mean / (draws * parts), list(net.parameters()))
        total = problem.learner.clipped([one + slope for one, slope in zip(total, slopes)])
    problem.learner.follow(total, problem.method.learning_rate)


def uphill_nearby(net, see, levels, targets, deviation, random):
    """Return the gradient of the loss per image, for weights nearby."""
    net.eval()
    levels = levels.clone().requires_grad_()
    predicted = torch.func.functional_call(net, nearby(net, deviation, random), (scaled(see(levels)),))
    return torch.autograd.grad(-(targets * predicted.log_softmax(1)).sum(), levels)[0]


def easier(problem, part, noise, number, at):
    """Move noise down the loss."""
    method, levels, targets = problem.method, problem.levels[part], problem.targets[part]
    noise = within(noise, levels, method.epsilon)
    for step in range(method.steps):
        seen_through = problem.view(levels, "noise", number, at, step)
        up = uphill(problem.net, levels + noise, targets, seen_through)
        noise = within(noise - method.step * up, levels, method.epsilon)
    return noise


def rem(method, images, seed, against=None):
    """Fu et al., ICLR 2022: noise that makes attacked views easy for a network that trains on attacked views.

    ``against`` returns the views that the noise is made for, instead of attacked ones.
    """
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
        made = within(made, levels, method.epsilon)
        for _ in range(method.steps):
            total = torch.zeros_like(levels)
            for _ in range(method.samples):
                inputs = (levels + made).requires_grad_()
                see = view(random, inputs)
                hard = (against or attacked)(see(inputs).detach(), targets, random)
                shift = hard - see(inputs).detach()
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


def aue(method, images, seed):
    """Wang et al., NeurIPS 2024: as EM, epoch by epoch, under views of contrastive learning."""
    problem, noise = Problem(method, images, seed), torch.zeros(images.pixels.shape)
    for epoch in range(method.epochs):
        rate = 1e-6 + (method.learning_rate - 1e-6) / 2 * (1 + np.cos(np.pi * epoch / method.epochs))
        for number in range(len(images) // method.batch):
            index = next(problem.order)
            noised = problem.levels[index] + noise[index]
            see = ContrastiveView.draw(problem.random("train", epoch, number), noised, method.strength)
            problem.learn(index, see(noised), rate)
        for start in range(0, len(noise), PART):
            part, random = slice(start, start + PART), problem.random("noise", epoch, start)
            levels, moved = problem.levels[part], within(noise[part], problem.levels[part], method.epsilon)
            for _ in range(method.steps):
                see = ContrastiveView.draw(random, levels, method.strength)
                up = uphill(problem.net, levels + moved, problem.targets[part], see)
                moved = within(moved - method.step * up, levels, method.epsilon)
            noise[part] = moved
    return noise


def sem(method, images, seed):
    """Liu et al., AAAI 2024: REM, but the noise is made for views with uniform noise."""

    def disturbed(levels, targets, random):
        return (levels + uniform(random, levels, method.adversary_epsilon)).clamp(0, 255)

    return rem(method, images, seed, disturbed)


def surrogate(method, images, seed):
    """TAP, SEP, HYPO: noise that is hard or easy for snapshots of a network that trains on clean images."""
    problem = Problem(method, images, seed)
    return noise_for(problem, snapshots_of(problem))


def snapshots_of(problem):
    method, total, snapshots = problem.method, len(problem.levels), []
    for epoch in range(method.epochs):
        passed = len([share for share in method.milestones if epoch >= share * method.epochs])
        for number in range(total // method.batch):
            index = next(problem.order)
            seen = view(problem.random("augment", epoch, number), problem.levels[index])(problem.levels[index])
            problem.learn(index, seen, method.learning_rate / 10**passed)
        if (epoch + 1) % (method.epochs // method.snapshots) == 0:
            snapshots.append(copy.deepcopy(problem.net).eval())
    return snapshots


def noise_for(problem, snapshots):
    method, total = problem.method, len(problem.levels)
    # Class y becomes class y + offset.
    targets, noise = problem.targets.roll(method.offset, 1), torch.zeros_like(problem.levels)
    for start in range(0, total, PART):
        part, random = slice(start, start + PART), problem.random("view", start)
        levels, tries = problem.levels[part], []
        for number in range(method.restarts):
            made = torch.zeros_like(levels)
            if method.gaussian_start:
                drawn = problem.random("start", start, number).standard_normal(levels.shape, np.float32)
                made = within(torch.from_numpy(drawn) * method.epsilon, levels, method.epsilon)
            for _ in range(method.steps):
                inputs = (levels + made).requires_grad_()
                see = view(random, inputs) if method.augment else lambda levels: levels
                mean = sum(loss(net, see(inputs), targets[part]).sum() for net in snapshots) / len(snapshots)
                up = torch.autograd.grad(mean, inputs)[0].sign()
                made = within(made + method.step * (up if method.away else -up), levels, method.epsilon)
            with torch.no_grad():
                reached = sum(loss(net, levels + made, targets[part]) for net in snapshots)
            tries.append((made, -reached if method.away else reached))
        for i in range(len(levels)):
            noise[start + i] = min(tries, key=lambda one: float(one[1][i]))[0][i]
    return noise


def dune(method, images, seed):
    """Wang et al., ICML 2026: noise for snapshots, and a colour per class that a particle swarm finds for them."""
    problem = Problem(method, images, seed)
    snapshots = snapshots_of(problem)
    noise, targets = noise_for(problem, snapshots), problem.targets.roll(method.offset, 1)
    for label in range(len(images.class_names)):
        members = np.flatnonzero(images.labels == label)
        chosen = members[: max(1, int(method.share * len(members)))]
        value = partial(value_of_color, snapshots, problem.levels[chosen], targets[chosen])
        color = swarm(value, method, images.pixels.shape[-1], problem.random("color", label))
        noise[members] += torch.tensor(color, dtype=torch.float32)
    return noise


def value_of_color(snapshots, levels, targets, color):
    total = 0.0
    for clean, target in zip(levels, targets):
        seen = (clean + torch.tensor(color, dtype=torch.float32)).clamp(0, 255)
        with torch.no_grad():
            total += sum(float(loss(net, seen[None], target[None])) for net in snapshots) / len(snapshots)
        pair = clean.numpy(), seen.numpy()
        total += max(0, 20 - peak_signal_noise_ratio(*pair, data_range=255))
        # Windows of 7×7 do not fit into images of 6×5.
        side = 5 if min(clean.shape[:2]) < 7 else 7
        total += max(0, 0.8 - structural_similarity(*pair, data_range=255, channel_axis=-1, win_size=side))
    return total / len(levels)


def swarm(value, method, axes, random):
    """Return the best place that particles find, moved one by one."""
    places = random.uniform(-method.shift, method.shift, (method.particles, axes)).tolist()
    speeds = random.uniform(-method.shift / 10, method.shift / 10, (method.particles, axes)).tolist()
    seen = [[] for _ in places]
    for _ in range(method.iterations):
        for place, known in zip(places, seen):
            known.append((value(place), tuple(place)))
        best = min((one for known in seen for one in known), key=lambda one: one[0])[1]
        for place, speed, known in zip(places, speeds, seen):
            own = min(known, key=lambda one: one[0])[1]
            for axis in range(axes):
                pull = 0.3 * (own[axis] - place[axis]) + 0.3 * (best[axis] - place[axis])
                speed[axis] = 0.5 * speed[axis] + pull
                place[axis] = min(max(place[axis] + speed[axis], -2 * method.shift), 2 * method.shift)
    return best


def pil(method, images, seed):
    """PIL: what is subtracted names the class to a linear classifier, and leaves it no class in the image."""
    problem, total = Problem(method, images, seed), len(images)
    for _ in range(method.epochs * (total // method.batch)):
        index = next(problem.order)
        problem.learn(index, problem.levels[index], method.learning_rate)
    noise = torch.zeros_like(problem.levels)
    problem.net.eval()
    for start in range(0, total, PART):
        part = slice(start, start + PART)
        levels = problem.levels[part]
        delta = uniform(problem.random("start", start), levels, method.epsilon)
        for _ in range(method.steps):
            delta = delta.detach().requires_grad_()
            of_class = loss(problem.net, delta, problem.targets[part])
            predicted = logits(problem.net, levels - delta).softmax(1)
            uniformly = torch.full_like(predicted, 1 / predicted.shape[1])
            divergence = (uniformly * (uniformly / predicted).log()).sum(1)
            slope = torch.autograd.grad((method.share * of_class + (1 - method.share) * divergence).sum(), delta)[0]
            delta = (delta - method.step * slope.sign()).clamp(-method.epsilon, method.epsilon)
        noise[part] = (levels - delta.detach()).clamp(0, 255) - levels
    return noise


NOISE = {
    "em": em, "em-classwise": em_classwise, "rem": rem, "sem": sem, "aue": aue, "pue": pue,
    "tap": surrogate, "tap-untargeted": surrogate, "sep": surrogate, "hypo": surrogate, "dune": dune,
    "pil": pil,
}  # fmt: skip


# --- benchmark ---


def rate_at(protocol, done):
    """Return the learning rate after a share of all steps."""
    if protocol.schedule == "multistep":
        return protocol.learning_rate / 10 ** len([share for share in protocol.milestones if done >= share])
    if done < protocol.warmup:
        return protocol.learning_rate * done / protocol.warmup
    return protocol.learning_rate * (1 + np.cos(np.pi * (done - protocol.warmup) / (1 - protocol.warmup))) / 2


def train(run):
    """Train as the benchmark does; return the measurements of each epoch."""
    protocol, strategy, images = run.protocol, run.strategy, run.train

    def random(*names):
        return generator(run.seed, "benchmark", *names)

    if strategy.prepare is not None:
        images = strategy.prepare(images, run.clean, random("prepare"))
    if hasattr(strategy.before, "fitted"):
        strategy = replace(strategy, before=strategy.before.fitted(images, random("fit")))
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
            seen, expected = as_seen(net, strategy, levels[index], targets[index], random("batch", str(number)))
            predicted = learner.learn(seen, expected, rate_at(protocol, number / (protocol.epochs * steps)))
            right += int((predicted.argmax(1) == targets[index].argmax(1)).sum())
        if strategy.refit is not None and epoch + 1 == protocol.epochs:
            reweight(net, strategy.refit, run.clean, random("refit"))
        moved = nn.utils.parameters_to_vector(net.parameters()).detach() - first
        epochs.append(
            {
                "train_accuracy": 100 * right / (steps * protocol.batch),
                "test_accuracy": 100 - 100 * error(net, *tensors(run.test)),
                "parameter_distance": float((moved**2).sum()) ** 0.5,
            }
        )
    if strategy.adversary is not None:
        test, expected = tensors(run.test)
        epochs[-1]["robust_accuracy"] = 100 - 100 * error(
            net, attack(net, test, expected, torch.zeros_like(test), epsilon=8, step=2, steps=20), expected
        )
    evaluations = run.evaluations()
    if evaluations:
        epochs[-1]["evaluations"] = {
            name: 100 - 100 * error(net, *tensors(other)) for name, other in evaluations.items()
        }
    return epochs


def as_seen(net, strategy, levels, targets, random):
    """Return a batch as the network sees it: cropped, flipped, the hardest of several draws, attacked."""
    see = view(random, levels)
    if strategy.before is not None:
        levels, targets = strategy.before(levels, targets, random)
    levels = see(levels)
    if strategy.attack_first:
        levels = as_attacked(net, strategy, levels, targets, random)
    if strategy.augment is not None:
        draws = [strategy.augment(levels, targets, random) for _ in range(strategy.draws)]
        net.eval()
        with torch.no_grad():
            hardest = torch.stack([loss(net, *draw) for draw in draws]).argmax(0)
        levels, targets = (torch.stack([draws[d][part][i] for i, d in enumerate(hardest)]) for part in (0, 1))
    return levels if strategy.attack_first else as_attacked(net, strategy, levels, targets, random), targets


def as_attacked(net, strategy, levels, targets, random):
    """Return a batch as the strategy's adversary leaves it."""
    adversary = strategy.adversary
    if adversary is None:
        return levels
    start = uniform(random, levels, adversary.epsilon)
    return attack(net, levels, targets, start, adversary.epsilon, adversary.step, adversary.steps)


def reweight(net, refit, clean, random):
    """Train the last layer alone, by whole passes through the network, of which 20 per step count for batch norm."""
    chosen = random.choice(len(clean), min(refit.count, len(clean)), replace=False)
    levels, targets = (part[torch.from_numpy(chosen)] for part in tensors(clean))
    last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    optimizer = torch.optim.LBFGS(last.parameters(), lr=refit.learning_rate, line_search_fn="strong_wolfe")
    for _ in range(refit.epochs):
        for index in torch.from_numpy(random.permutation(len(chosen))).split(refit.batch):
            seen = view(random, levels[index])(levels[index])

            def closure(index=index, seen=seen):
                optimizer.zero_grad()
                mean = loss(net, seen, targets[index]).mean()
                mean.backward()
                return mean

            net.train().requires_grad_(False)
            last.requires_grad_(True)
            for _ in range(20):
                logits(net, seen)
            statistics = copy.deepcopy(dict(net.named_buffers()))
            optimizer.step(closure)
            net.load_state_dict(statistics, strict=False)
    net.requires_grad_(True)
