# Builds and runs the consumer project in WORK_DIR against the install tree of BUILD_DIR (MODE
# install) or against SOURCE_DIR as a subdirectory (MODE subdirectory). What tunes runs on the
# make-believe driver in FAKE_CUDA_DIR.
function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(REMOVE_RECURSE ${WORK_DIR}/prefix)
if(MODE STREQUAL "install")
  run(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${WORK_DIR}/prefix)
  # A tree that still works after a move names no path of this build.
  file(REMOVE_RECURSE ${WORK_DIR}/moved)
  file(RENAME ${WORK_DIR}/prefix ${WORK_DIR}/moved)
  set(how -DCMAKE_PREFIX_PATH=${WORK_DIR}/moved -DCMAKE_BUILD_TYPE=${BUILD_TYPE}
          -DCMAKE_CXX_FLAGS=${FLAGS})
else()
  # All of the library once more, as BUILD_DIR has compiled it, so that ccache has most of it.
  set(ENV{CCACHE_NOHASHDIR} 1)
  load_cache(${BUILD_DIR} READ_WITH_PREFIX its_ CMAKE_CXX_FLAGS_RELWITHDEBINFO MARLIN_WERROR)
  set(how -DMARLIN_SOURCE_DIR=${SOURCE_DIR} -DCMAKE_BUILD_TYPE=${BUILD_TYPE}
          -DCMAKE_CXX_FLAGS=${FLAGS} -DMARLIN_WERROR=${its_MARLIN_WERROR}
          "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=${its_CMAKE_CXX_FLAGS_RELWITHDEBINFO}")
endif()

run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR} -B ${WORK_DIR}/build -G ${GENERATOR}
    -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER} ${how})
run(${CMAKE_COMMAND} --build ${WORK_DIR}/build --target consumer tuning_consumer -j 2)
run(${WORK_DIR}/build/consumer)
set(library_path ${FAKE_CUDA_DIR})
if(NOT "$ENV{LD_LIBRARY_PATH}" STREQUAL "")
  string(APPEND library_path ":$ENV{LD_LIBRARY_PATH}")
endif()
set(ENV{LD_LIBRARY_PATH} ${library_path})
set(ENV{MARLIN_CACHE_DIR} ${WORK_DIR}/cache)
set(ENV{MARLIN_TUNING_DB} ${WORK_DIR}/tuning.jsonl)
file(REMOVE ${WORK_DIR}/tuning.jsonl)
run(${WORK_DIR}/build/tuning_consumer)
