"""What one process holds for everybody: the store, the jobs, one loaded model, and the answers being written."""

import gc
import logging
import threading
import uuid
from collections import OrderedDict

import torch

from cache.job import Cancelled
from cache.jobs import Jobs, sentence
from cache.store import Store
from models.anatomy import Anatomy, anatomy
from models.generate import Settings, Token, Writer, write
from models.loading.load import estimate, load
from models.subject import ModelRef, Subject
from plans.cut import cut
from plans.plan import Plan
from probes.answer import Question, open_store, ready
from refusal import Refusal
from texts.corpus import CorpusRef

_log = logging.getLogger(__name__)
_LIVES = 50  # answers remembered; the oldest go first


class Loading:
    """A model on its way in. Read by pages, written by one thread."""

    def __init__(self, ref: ModelRef) -> None:
        self.ref = ref
        self.share, self.text = 0.0, "looking at the files"
        self.error: str | None = None
        self.over = threading.Event()

    def progress(self, done: float, total: float, text: str) -> None:
        """Note how far it is."""
        self.share, self.text = (done / total if total else 0.0), text


class Live:
    """Several views of one subject continuing one prompt, on a thread of its own."""

    def __init__(
        self, store: Store, subject: Subject, corpus: CorpusRef, plans: list[Plan], prompt: torch.Tensor, settings: Settings
    ) -> None:
        self.plans, self.settings = plans, settings
        self.text = ""  # what is being learned from the corpus before the first token
        self.tokens: list[list[Token]] = [[] for _ in plans]
        self.cache_bytes = [0] * len(plans)
        self.prompt_tokens = prompt.shape[1]
        self.error: str | None = None
        self.over, self._stop = threading.Event(), threading.Event()
        work = (store, subject, corpus, prompt.to(subject.device))
        threading.Thread(target=self._run, args=work, name="generation", daemon=True).start()

    def stop(self) -> None:
        """End after the token that is being computed."""
        self._stop.set()

    def _run(self, store: Store, subject: Subject, corpus: CorpusRef, prompt: torch.Tensor) -> None:
        try:
            asked = [Question("fidelity", subject.ref, corpus, str(plan)) for plan in self.plans]
            plans = [ready(store, question, subject, self._progress) for question in asked]
            self.text = ""
            views = [cut(subject, plan) for plan in plans]
            writers = [Writer(view, subject.tokenizer, prompt, self.settings.temperature) for view in views]
            for place, token in write(writers, self.settings, subject.context):
                self.tokens[place].append(token)
                self.cache_bytes[place] = writers[place].cache_bytes
                if self._stop.is_set():
                    break
        except Cancelled:
            self.error = "Stopped before the plan was calibrated."
        except Exception as error:  # a thread has nobody else to tell
            _log.warning("generation failed: %s", error, exc_info=not isinstance(error, Refusal))
            self.error = sentence(error)
        finally:
            self.over.set()

    def _progress(self, done: float, total: float, text: str) -> None:
        if self._stop.is_set():
            raise Cancelled
        self.text = f"calibrating · {text}"


class Workbench:
    """The state of the process. One model at a time: a new one is loaded when the old one is gone."""

    def __init__(self) -> None:
        self.store: Store = open_store()
        self.jobs = Jobs(self.store)
        self.subject: Subject | None = None
        self.anatomy: Anatomy | None = None
        self.loading: Loading | None = None
        self.lives: OrderedDict[str, Live] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, ref: ModelRef) -> Loading:
        """Begin to load; whoever asks while a model is on its way gets that one's progress."""
        with self._lock:
            if self.loading is None or self.loading.over.is_set():
                self.loading = Loading(ref)
                threading.Thread(target=self._load, args=(self.loading,), name="loading", daemon=True).start()
            return self.loading

    def unload(self) -> None:
        """Let the model go, so that its memory is free before the next one needs it."""
        for job in self.jobs.list():
            job.cancel()
        for live in self.lives.values():
            live.stop()
        self.subject = self.anatomy = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def write(self, subject: Subject, corpus: CorpusRef, plans: list[Plan], prompt: torch.Tensor, settings: Settings) -> str:
        """Begin to write; returns the name under which the answers can be watched. Plans are calibrated on ``corpus``."""
        name = uuid.uuid4().hex
        self.lives[name] = Live(self.store, subject, corpus, plans, prompt, settings)
        while len(self.lives) > _LIVES:
            self.lives.popitem(last=False)[1].stop()
        return name

    def _load(self, loading: Loading) -> None:
        try:
            estimate(loading.ref)  # a name that leads nowhere must not cost everybody the model that is loaded
            self.unload()
            subject = load(loading.ref, loading.progress)
            loading.text = "counting its parts"
            self.anatomy = anatomy(subject)
            self.subject = subject
        except Exception as error:  # a thread has nobody else to tell
            _log.warning("loading %s failed: %s", loading.ref.name, error, exc_info=not isinstance(error, Refusal))
            loading.error = sentence(error)
        finally:
            loading.over.set()
