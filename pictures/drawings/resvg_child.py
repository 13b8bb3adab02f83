"""A program of its own: SVG from standard input, PNG to standard output, in a process that can do nothing else.

Started by `resvg.py` with the folder of the package resvg_py, seconds of processor time and bytes of memory. A drawing
that makes the renderer overflow its stack, eat all memory or run on for ever ends this process, not the server. After
the imports the process may open no file and no socket where the system can forbid it (Linux, macOS).
"""

import sys
import threading

_STACK = 512 << 20  # bytes of address space: nested groups are drawn by recursion


def main() -> None:
    sys.path.append(sys.argv[1])
    import resvg_py

    threading.stack_size(_STACK)
    failed = []

    def draw() -> None:
        try:
            svg = sys.stdin.buffer.read().decode("utf-8")
            picture = resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True, dpi=96.0, languages=["en"])
            sys.stdout.buffer.write(picture)
            sys.stdout.buffer.flush()
        except BaseException as error:  # a panic of the renderer is no Exception
            failed.append(str(error) or type(error).__name__)

    worker = threading.Thread(target=draw)
    _forbid(int(sys.argv[2]), int(sys.argv[3]))
    worker.start()
    worker.join()
    if failed:
        sys.stderr.buffer.write(failed[0].encode("utf-8", "replace"))
        sys.exit(3)


def _forbid(seconds: int, memory: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: `resvg.py` still ends the process when its time is up
        return
    limits = [
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),
    ]
    for what, most in limits:
        try:
            resource.setrlimit(what, (most, most))
        except (ValueError, OSError):  # the system does not have this limit
            continue


if __name__ == "__main__":
    main()
