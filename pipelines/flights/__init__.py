"""The example use case: which flights that leave New York arrive late, from what is known before departure."""
