"""What one pass over perturbed images finds is what is found of each by itself."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.images import make_images

from cifar10_s.data.images import row_numbers
from cifar10_s.release.metrics import perceptibility, separability
from cifar10_s.release.metrics.survey import Survey


@pytest.mark.parametrize("size", [1, 7, 300])
def test_a_survey_in_parts_is_that_of_each_metric_alone(size):
    """Rows come as slices or as numbers, and a part may be measured in another process."""
    clean = make_images(count=300, classes=2)
    noise = np.random.default_rng(0).integers(0, 8, (2, *clean.shape[1:]))[clean.labels]
    perturbed = clean.with_pixels(
        np.where(clean.labels[:, None, None, None] == 1, clean.pixels ^ 1, noise).astype("u1")
    )
    survey = Survey(clean)
    surveyor = pickle.loads(pickle.dumps(survey.surveyor))
    for number, start in enumerate(range(0, 300, size)):
        rows = slice(start, min(start + size, 300))
        survey.add(surveyor(row_numbers(rows) if number % 2 else rows, clean.pixels[rows], perturbed.pixels[rows]))
    assert survey.digest() == perturbed.digest()
    expected = perceptibility.measure_all(clean, perturbed).summary()
    assert vars(survey.perceptibility.summary()) == pytest.approx(vars(expected), abs=2e-6)
    assert survey.separability() == separability.measure_all(clean, perturbed)


def test_the_digest_is_of_the_labels_that_are_stored():
    clean = make_images(count=50)
    other = make_images(count=50, seed=1)
    survey = Survey(clean, other.labels)
    survey.add(survey.surveyor(slice(0, 50), clean.pixels, other.pixels))
    assert survey.digest() == other.digest() != clean.digest()
    assert survey.separability() is None  # too few images of each class


def test_libraries_are_listed_before_a_thread_measures(monkeypatch):
    """In a thread, listing them and a module that another thread imports waited for each other: builds hung."""
    import threadpoolctl

    listed, start = [], threadpoolctl.ThreadpoolController.__init__

    def listing(controller):
        listed.append(threading.current_thread())
        start(controller)

    monkeypatch.setattr(threadpoolctl.ThreadpoolController, "__init__", listing)
    separability.load_classifier.cache_clear()
    clean = make_images(count=100, classes=2)
    perturbed = clean.with_pixels(clean.pixels ^ clean.labels[:, None, None, None].astype("u1"))
    survey = Survey(clean)
    assert listed == [threading.main_thread()]
    survey.add(survey.surveyor(slice(None), clean.pixels, perturbed.pixels))
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(survey.separability).result().scored == 18
    assert listed == [threading.main_thread()]
