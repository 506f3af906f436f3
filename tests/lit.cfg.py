# How lit runs the *.test files below this folder. CTest passes the parameters:
#   marlin_dir, filecheck_dir: where the programs are; fake_cuda_dir: the make-believe driver of
#   tests/stubs; exec_root: where tests may write.
import os

import lit.formats

config.name = "marlin"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".test"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = lit_config.params["exec_root"]

config.environment["PATH"] = os.pathsep.join(
    [lit_config.params["marlin_dir"], lit_config.params["filecheck_dir"], os.environ["PATH"]]
)
# A private user cache and no tuning database: no test may depend on what is the user's own.
config.environment["MARLIN_CACHE_DIR"] = os.path.join(config.test_exec_root, "cache")
config.environment["MARLIN_TUNING_DB"] = ""
for name in ("CUDA_HOME", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
# A value of LD_LIBRARY_PATH with which programs find the make-believe driver, whose kernels write
# nothing.
config.substitutions.append(
    (
        "%fake_cuda",
        os.pathsep.join(
            filter(None, [lit_config.params["fake_cuda_dir"], os.environ.get("LD_LIBRARY_PATH")])
        ),
    )
)
