"""From reconstructed electrons to the tritium endpoint and the neutrino mass: response, likelihood, fits, coverage."""
