"""The farm on one machine: a thread for each worker process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Sequence

from l4gm.datagen.farm_jobs import Model
from l4gm.datagen.farm_ledger import Record
from l4gm.datagen.farm_models import FarmTask, Slot, render_model


def local_records(models: Sequence[Model], task: FarmTask, num_workers: int) -> Generator[Record]:
    """Render models with some workers at a time; yields each record as its model is finished.

    When the iterator is closed early, the workers are ended.
    """
    waiting: queue.SimpleQueue[Model] = queue.SimpleQueue()
    finished: queue.SimpleQueue[Record | BaseException] = queue.SimpleQueue()
    stop = threading.Event()
    for model in models:
        waiting.put(model)
    slots = [Slot(task) for _ in range(min(num_workers, len(models)))]

    def work(slot: Slot) -> None:
        try:
            with slot:
                while not stop.is_set():
                    finished.put(render_model(waiting.get_nowait(), slot))
        except queue.Empty:
            pass
        except BaseException as error:
            finished.put(error)  # raised where the records are read

    threads = [threading.Thread(target=work, args=(slot,), daemon=True) for slot in slots]
    try:
        for thread in threads:
            thread.start()
        for _ in models:
            record = finished.get()
            if isinstance(record, BaseException):
                raise record
            yield record
    finally:
        stop.set()
        for slot in slots:
            slot.interrupt()
        for thread in threads:
            thread.join()
