# Tests that run the whole engine, and the real program.
if(LEAT_ENGINE)
  file(GLOB LEAT_PROPERTY CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/property/*.c")
  add_executable(property ${LEAT_PROPERTY})
  target_link_libraries(property PRIVATE leatcore)
  # Two processes: one a processor.
  foreach(seed 1 100001)
    add_test(NAME property_${seed} COMMAND property --cases 2500 --seed ${seed} --keep "${CMAKE_BINARY_DIR}/property-failures")
    set_tests_properties(property_${seed} PROPERTIES TIMEOUT 1200)
  endforeach()
  add_test(NAME kill COMMAND "${CMAKE_SOURCE_DIR}/tests/integration/kill.sh" $<TARGET_FILE:leat> "${CMAKE_BINARY_DIR}/tests/kill" 50)
  set_tests_properties(kill PROPERTIES TIMEOUT 600)
endif()
# Makes the Delta tables that tests/peers/test_delta_rs.py reads.
if(EXISTS "${CMAKE_SOURCE_DIR}/tests/peers/delta_tables.c")
  add_executable(delta_tables "${CMAKE_SOURCE_DIR}/tests/peers/delta_tables.c")
  target_link_libraries(delta_tables PRIVATE leatcore)
endif()
