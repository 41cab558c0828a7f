from tests import isolation

isolation.apply()
