"""The image that a pasted command is about: `docker run -it --rm nginx:1 bash`."""

from __future__ import annotations

__all__ = ["image_of"]

_PROMPTS = frozenset({"$", "#", ">", "%", "sudo"})
_GROUPS = frozenset({"image", "images", "container", "content"})
#: Commands whose first word is an image.
_VERBS = " run create pull push inspect manifest config digest ls history save rmi copy list-tags "
#: Options of these commands: letters and names with a value, and without one.
_LETTERS_WITH, _LETTERS_ALONE = frozenset("acehlmopuvwf"), frozenset("diqtPD")
_WITH = (
    " add-host annotation arch attach authfile blkio-weight cap-add cap-drop cert-dir cgroup-parent"
    " cidfile context cpu-period cpu-quota cpu-shares cpus cpuset-cpus creds dest-creds detach-keys"
    " device dns dns-search entrypoint env env-file expose format gpus group-add health-cmd"
    " health-interval health-retries health-timeout host hostname ip ipc label label-file link"
    " log-driver log-level log-opt mac-address memory memory-swap mount name namespace net network"
    " network-alias os output password pid pids-limit platform pod publish pull restart runtime"
    " security-opt shm-size src-creds stop-signal stop-timeout storage-opt sysctl tmpfs ulimit user"
    " userns username uts variant volume volumes-from workdir "
)
_ALONE = (
    " all all-tags debug detach disable-content-trust init insecure insecure-policy interactive"
    " no-healthcheck oom-kill-disable plain-http privileged publish-all quiet raw read-only rm tty"
    " verbose "
)


def image_of(words: list[str]) -> str | None:
    """Return the image that a command names; None when that is not certain.

    >>> image_of("docker run -it --rm -p 80:80 --name web nginx:1 bash".split())
    'nginx:1'
    >>> image_of("docker run --some-option web nginx:1".split()) is None
    True
    """
    while words and words[0] in _PROMPTS:
        words = words[1:]
    verb = ""
    rest = iter(words[1:])
    for word in rest:
        if word.startswith("-"):
            following = _takes_next(word)
            if following is None:
                return None  # the next word may be its value, or the image
            if following:
                next(rest, None)
        elif verb:
            return word
        elif word not in _GROUPS:
            if f" {word} " not in _VERBS:
                return None
            verb = word
    return None


def _takes_next(option: str) -> bool | None:
    """Whether an option's value is the next word; None for an option that is not known."""
    name = option.lstrip("-")
    if "=" in name:
        return False
    if option.startswith("--"):
        known = f" {name} "
        return known in _WITH if known in _WITH or known in _ALONE else None
    for position, letter in enumerate(name):
        if letter in _LETTERS_WITH:
            return position == len(name) - 1  # else the rest of the word is its value
        if letter not in _LETTERS_ALONE:
            return None
    return False
