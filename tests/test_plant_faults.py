"""The faults to be planted fit the sources and name tests that exist."""

import plant_faults


def test_every_fault_fits_its_source_once_and_names_its_tests():
    faults = plant_faults.read_faults()  # which looks for each in its source
    assert len(faults) >= 40
    for fault in faults:
        assert fault.old != fault.new
        assert fault.tests
        for test in fault.tests:
            file, _, name = test.partition("::")
            assert f"def {name}" in (plant_faults.ROOT / file).read_text("utf-8"), test
