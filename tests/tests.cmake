# Tests that run the real program.
if(TARGET leat)
  add_test(NAME kill COMMAND "${CMAKE_SOURCE_DIR}/tests/integration/kill.sh" $<TARGET_FILE:leat> "${CMAKE_BINARY_DIR}/tests/kill" 50)
  set_tests_properties(kill PROPERTIES TIMEOUT 600)
endif()
