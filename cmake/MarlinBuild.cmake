# Settings that every target of this project shares.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Kind of build" FORCE)
  endif()
  find_program(MARLIN_CCACHE ccache)
  if(MARLIN_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${MARLIN_CCACHE})
  endif()
  # CUDAToolkit's search knows CUDAToolkit_ROOT, CUDA_PATH and nvcc on the PATH, not CUDA_HOME.
  if(NOT CUDAToolkit_ROOT AND DEFINED ENV{CUDA_HOME})
    set(CUDAToolkit_ROOT $ENV{CUDA_HOME})
  endif()
endif()

if(MARLIN_PORTABLE)
  set(OPENSSL_USE_STATIC_LIBS TRUE)
  set(MARLIN_FMT $<BUILD_INTERFACE:fmt::fmt-header-only>)
  add_link_options(-static-libstdc++ -static-libgcc $<$<CONFIG:Release>:-s>)
else()
  set(MARLIN_FMT fmt::fmt)
endif()

if(MARLIN_SANITIZE)
  add_compile_options(-fsanitize=${MARLIN_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${MARLIN_SANITIZE})
endif()

# Warnings for our own code; never part of what users of the library inherit.
function(marlin_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra $<$<BOOL:${MARLIN_WERROR}>:-Werror>)
endfunction()

# An object library whose objects become part of the one library users link.
function(marlin_objects target)
  add_library(${target} OBJECT ${ARGN})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${target} PRIVATE ${MARLIN_FMT})
  marlin_warnings(${target})
endfunction()
